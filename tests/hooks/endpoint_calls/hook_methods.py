"""Methods of :class:`MosaicHook` that send several requests."""

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


def upload_asset(env: CallEnvironment) -> None:
    hook = _hook(env)
    before = len(env.mosaic.uploads())
    hook.upload_asset(str(SAMPLE_VIDEO))
    assert [upload["finalized"] for upload in env.mosaic.uploads()[before:]] == [True]


def apply_agent(env: CallEnvironment) -> None:
    hook = _hook(env)
    # An agent without connections in the response cannot be compared.
    if env.settings["agent_response"] == "nodes":
        with pytest.raises(MosaicResponseError, match="connected"):
            hook.apply_agent(DEFINITION)
        return
    applied = hook.apply_agent(DEFINITION)
    assert (applied.created, sorted(applied.node_ids)) == (True, ["cap", "in"])
    assert hook.apply_agent(DEFINITION).operations == 0
    env.ids["applied"] = applied.agent_id or ""


def export_agent(env: CallEnvironment) -> None:
    hook = _hook(env)
    if env.settings["agent_response"] == "nodes":
        with pytest.raises(MosaicResponseError, match="connected"):
            hook.export_agent(env.mosaic.agent_id)
        return
    exported = hook.export_agent(env.ids["applied"])
    assert exported["name"] == "As code"
    assert len(exported["nodes"]) == 2
    assert len(exported["connections"]) == 1


def _hook(env: CallEnvironment) -> MosaicHook:
    assert isinstance(env.api, MosaicHook)
    return env.api


ENDPOINT_CALLS = by_name(upload_asset, apply_agent, export_agent)
