"""What a DAG file says of a watch for runs that end: checked where it is read, and kept by Airflow as it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger
from tasks.fakes import through_airflow

from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.run_completions import ENDS
from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.triggers import MosaicRunFinishedTrigger
from airflow_provider_mosaic.triggers.finished_runs import STATUSES

ARGUMENTS: list[dict[str, Any]] = [
    {"agent_id": "a"},
    {"agent_id": "a", "status": ["completed", "failed"], "mosaic_conn_id": "other", "poll_interval": 5.5},
    {"agent_id": "a", "asset_name": "edited_videos"},
]


@pytest.mark.parametrize("given", ARGUMENTS)
def test_arguments_come_back_as_they_were(given: dict[str, Any]) -> None:
    path, arguments = MosaicRunFinishedTrigger(**given).serialize()
    assert path == f"{MosaicRunFinishedTrigger.__module__}.{MosaicRunFinishedTrigger.__name__}"
    assert arguments | given == arguments
    assert MosaicRunFinishedTrigger(**through_airflow(arguments)).serialize() == (path, arguments)


@pytest.mark.parametrize("given", ARGUMENTS)
def test_airflow_takes_what_it_keeps_for_what_the_dag_file_says(given: dict[str, Any]) -> None:
    """Otherwise it would put a new trigger in the place of the old one each time it reads the file."""
    from airflow.models.trigger import Trigger

    path, arguments = MosaicRunFinishedTrigger(**given).serialize()
    row = Trigger(classpath=path, kwargs=arguments)
    assert BaseEventTrigger.hash(path, row.kwargs) == BaseEventTrigger.hash(path, arguments)


def test_arguments_of_0_1_0_still_make_a_watch() -> None:
    kept = {"agent_id": "a", "status": ["failed"], "mosaic_conn_id": "mosaic_default", "poll_interval": 60.0}
    assert MosaicRunFinishedTrigger(**kept).serialize()[1] == kept | {"asset_name": None}


def test_the_order_of_statuses_makes_no_other_watch() -> None:
    one, other = (
        MosaicRunFinishedTrigger(agent_id="a", status=status)
        for status in (["failed", "completed"], ("completed", "failed", "failed"))
    )
    assert one.serialize() == other.serialize()


def test_the_statuses_that_can_be_asked_for_are_the_ends_of_runs() -> None:
    assert STATUSES == ENDS


BAD: list[tuple[str, Any]] = [
    *(("agent_id", value) for value in (None, 5, "", "None", "{{ var.value.agent }}", "two words")),
    *(("status", value) for value in ([], "running", "done", ["completed", "queued"], [None], 5)),
    *(("mosaic_conn_id", value) for value in (None, 5, "")),
    *(("poll_interval", value) for value in (0, -1, "60", None, True, float("nan"))),
]


@pytest.mark.parametrize(("name", "value"), BAD)
@pytest.mark.parametrize("kind", [MosaicRunFinishedTrigger, finished_runs])
def test_a_wrong_argument_is_refused_where_the_dag_file_is_read(
    kind: Callable[..., Any], name: str, value: Any
) -> None:
    with pytest.raises(MosaicValidationError, match=name):
        kind(**{"agent_id": "a", name: value})


def test_the_same_arguments_give_the_same_asset_and_others_another() -> None:
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
        asset.name,
    }
    assert len(names) == 7
    assert finished_runs("a", poll_interval=timedelta(minutes=1)).name == finished_runs("a").name


def test_the_dags_author_can_name_the_asset() -> None:
    assert finished_runs("a", name="edited_videos").name == "edited_videos"


def test_two_names_are_two_watches_for_airflow() -> None:
    """Airflow makes one trigger of those with the same arguments, and keeps no state for one that two assets share."""
    hashes = set()
    for name in (None, "edited_videos", "others"):
        (watcher,) = finished_runs("a", name=name).watchers
        assert isinstance(watcher.trigger, BaseEventTrigger)
        hashes.add(BaseEventTrigger.hash(*watcher.trigger.serialize()))
    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["", " ", 5])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^name="):
        finished_runs("a", name=name)
