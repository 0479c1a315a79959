"""Arguments of MosaicRunFinishedTrigger: validated when the DAG file is parsed, stored by Airflow unchanged."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger
from tasks.fakes import through_airflow

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger

ARGUMENTS: list[dict[str, Any]] = [
    {"agent_id": "a"},
    {"agent_id": "a", "status": ["completed", "failed"], "mosaic_conn_id": "other", "poll_interval": 5.5},
    {"agent_id": "a", "asset_name": "edited_videos"},
    {"agent_id": "a", "webhook": True, "poll_interval": 900.0},
]


@pytest.mark.parametrize("options", ARGUMENTS)
def test_arguments_survive_serialization(options: dict[str, Any]) -> None:
    path, arguments = MosaicRunFinishedTrigger(**options).serialize()
    assert path == f"{MosaicRunFinishedTrigger.__module__}.{MosaicRunFinishedTrigger.__name__}"
    assert arguments | options == arguments
    assert MosaicRunFinishedTrigger(**through_airflow(arguments)).serialize() == (path, arguments)


@pytest.mark.parametrize("options", ARGUMENTS)
def test_airflow_knows_the_stored_trigger_again(options: dict[str, Any]) -> None:
    """Otherwise it would replace the trigger each time it parses the file."""
    from airflow.models.trigger import Trigger

    path, arguments = MosaicRunFinishedTrigger(**options).serialize()
    row = Trigger(classpath=path, kwargs=arguments)
    assert BaseEventTrigger.hash(path, row.kwargs) == BaseEventTrigger.hash(path, arguments)


def test_arguments_of_0_1_0_are_accepted() -> None:
    kept = {"agent_id": "a", "status": ["failed"], "mosaic_conn_id": "mosaic_default", "poll_interval": 60.0}
    assert MosaicRunFinishedTrigger(**kept).serialize()[1] == kept | {"asset_name": None}


def test_the_order_of_statuses_does_not_matter() -> None:
    one, other = (
        MosaicRunFinishedTrigger(agent_id="a", status=status)
        for status in (["failed", "completed"], ("completed", "failed", "failed"))
    )
    assert one.serialize() == other.serialize()


BAD: list[tuple[str, Any]] = [
    *(("agent_id", value) for value in (None, 5, "", "None", "{{ var.value.agent }}", "two words")),
    *(("status", value) for value in ([], "running", "done", ["completed", "queued"], [None], 5)),
    *(("mosaic_conn_id", value) for value in (None, 5, "")),
    *(("poll_interval", value) for value in (0, -1, "60", True, float("nan"))),
    *(("webhook", value) for value in (None, "True", 1)),
]


@pytest.mark.parametrize(("name", "value"), BAD)
@pytest.mark.parametrize("kind", [MosaicRunFinishedTrigger, finished_runs])
def test_an_invalid_argument_is_rejected_when_the_dag_file_is_parsed(
    kind: Callable[..., Any], name: str, value: Any
) -> None:
    with pytest.raises(MosaicValidationError, match=name):
        kind(**{"agent_id": "a", name: value})


def test_the_asset_depends_on_the_arguments() -> None:
    asset = finished_runs("a", status=["failed", "completed"])
    (watcher,) = asset.watchers
    trigger = watcher.trigger
    assert isinstance(trigger, MosaicRunFinishedTrigger)
    assert (trigger.agent_id, trigger.status) == ("a", ["completed", "failed"])
    assert finished_runs("a", status=("completed", "failed")) == asset
    names = {
        finished_runs("a").name,
        finished_runs("b").name,
        finished_runs("a", status="failed").name,
        finished_runs("a", mosaic_conn_id="other").name,
        finished_runs("a", poll_interval=30).name,
        finished_runs("a", poll_interval=30.5).name,
        finished_runs("a", webhook=True).name,
        finished_runs("a", webhook=True, poll_interval=60).name,
        asset.name,
    }
    assert len(names) == 9
    assert finished_runs("a", poll_interval=timedelta(minutes=1)).name == finished_runs("a").name


def test_webhooks_make_the_polls_in_between_rare() -> None:
    (watcher,) = finished_runs("a", webhook=True).watchers
    trigger = watcher.trigger
    assert isinstance(trigger, MosaicRunFinishedTrigger)
    assert (trigger.webhook, trigger.poll_interval) == (True, 600.0)
    assert finished_runs("a", webhook=True, poll_interval=600) == finished_runs("a", webhook=True)


def test_the_asset_can_be_named() -> None:
    assert finished_runs("a", name="edited_videos").name == "edited_videos"


def test_two_names_are_two_triggers() -> None:
    """Airflow creates one trigger for equal arguments, and no state store for one that two assets share."""
    hashes = set()
    for name in (None, "edited_videos", "others"):
        (watcher,) = finished_runs("a", name=name).watchers
        assert isinstance(watcher.trigger, BaseEventTrigger)
        hashes.add(BaseEventTrigger.hash(*watcher.trigger.serialize()))
    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["", " ", 5])
def test_an_invalid_name_is_rejected(name: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^name="):
        finished_runs("a", name=name)
