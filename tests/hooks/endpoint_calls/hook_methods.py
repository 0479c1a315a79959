"""What only the hook of workers has: several calls in one."""

from __future__ import annotations

import pytest
from mosaic_emulator.media import SAMPLE_VIDEO

from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from hooks.all_endpoints import CallEnvironment, by_name

DEFINITION = {
    "name": "As code",
    "nodes": {"in": {"tile": "Video Input"}, "cap": {"tile": "Captions", "params": {"caption_style": "karaoke"}}},
    "connections": [["in", "cap"]],
}


def upload_asset(day: CallEnvironment) -> None:
    hook = _hook(day)
    before = len(day.mosaic.uploads())
    hook.upload_asset(str(SAMPLE_VIDEO))
    assert [upload["finalized"] for upload in day.mosaic.uploads()[before:]] == [True]


def apply_agent(day: CallEnvironment) -> None:
    hook = _hook(day)
    # Without connections in the answer, a graph can't be compared: that is told, and nothing is changed by a guess.
    if day.settings["agent_answer"] == "nodes":
        with pytest.raises(MosaicResponseError, match="connected"):
            hook.apply_agent(DEFINITION)
        return
    made = hook.apply_agent(DEFINITION)
    assert (made.created, sorted(made.node_ids)) == (True, ["cap", "in"])
    assert hook.apply_agent(DEFINITION).operations == 0
    day.ids["applied"] = made.agent_id or ""


def export_agent(day: CallEnvironment) -> None:
    hook = _hook(day)
    if day.settings["agent_answer"] == "nodes":
        with pytest.raises(MosaicResponseError, match="connected"):
            hook.export_agent(day.mosaic.agent_id)
        return
    exported = hook.export_agent(day.ids["applied"])
    assert exported["name"] == "As code"
    assert len(exported["nodes"]) == 2
    assert len(exported["connections"]) == 1


def _hook(day: CallEnvironment) -> MosaicHook:
    assert isinstance(day.api, MosaicHook)
    return day.api


ENDPOINT_CALLS = by_name(upload_asset, apply_agent, export_agent)
