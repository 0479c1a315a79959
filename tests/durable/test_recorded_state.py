"""
Later releases read what a release has saved: in the task state store, the asset's state, and Airflow Variables.

Triggers and fingerprints of requests have recordings of their own, in ``tests/triggers`` and ``tests/operators``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tasks.fakes import StateStore, bare_context

import airflow_provider_mosaic
from airflow_provider_mosaic.api.run_completions import RunCompletionTracker
from airflow_provider_mosaic.durable import manual_adoption
from airflow_provider_mosaic.durable.manual_adoption import ManualAdoption
from airflow_provider_mosaic.durable.task_state import StartRecord, TaskState
from airflow_provider_mosaic.tasks.run_resumes import ResumePermission
from airflow_provider_mosaic.triggers.run_watcher import RunWatcher

RECORDED = [json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "recorded").glob("*.json"))]
ENTRIES = [entry for recorded in RECORDED for entry in recorded["entries"]]
MESSAGE = "A retry that spans the upgrade of the provider would not find this. Read both forms; do not record it again."


def state(store: StateStore, kind: str, request: Any = None) -> TaskState:
    return TaskState(bare_context(store, try_number=2), kind=kind, request=request)


@pytest.mark.parametrize("recorded", ENTRIES, ids=lambda recorded: recorded["kind"])
def test_a_retry_after_an_upgrade_knows_what_was_started(recorded: dict[str, Any]) -> None:
    store, entry = StateStore(), recorded["entry"]
    store.set(recorded["key"], entry)
    existing = entry.get("existing_ids")
    assert state(store, recorded["kind"], recorded["request"]).load() == StartRecord(
        started_at=entry["started_at"],
        id=entry.get("id"),
        deadline=entry.get("deadline"),
        existing_ids=None if existing is None else tuple(existing),
        existing_until=entry.get("existing_until"),
        clock_ahead=entry.get("clock_ahead", 0.0),
        facts=entry["facts"],
    ), MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_an_adopted_item_is_not_adopted_again(recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store, adopted = StateStore(), recorded["adopted"]
    store.set(adopted["key"], adopted["entry"])
    [id] = adopted["entry"]["ids"]
    monkeypatch.setattr(manual_adoption, "read_variable", lambda name: json.dumps({"manual__1": id}))
    assert ManualAdoption(bare_context(store, try_number=2), kind="run").read() is None, MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_task_that_started_nothing_is_known(recorded: dict[str, Any]) -> None:
    store, entry = StateStore(), recorded["not_started"]
    store.set(entry["key"], entry["entry"])
    assert state(store, "run").load() is None, MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_permission_to_resume_is_known(recorded: dict[str, Any]) -> None:
    store, permission = StateStore(), recorded["resume_permission"]
    store.set(permission["key"], permission["entry"])
    assert ResumePermission(bare_context(store)).is_granted(permission["entry"]["run_id"]), MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_users_decision_is_found_by_its_name(recorded: dict[str, Any]) -> None:
    assert ManualAdoption(bare_context(), kind="run").variable == recorded["variable"], MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_watch_resumes(recorded: dict[str, Any]) -> None:
    watch = recorded["watch"]
    watcher = RunWatcher(**watch["arguments"], poll_interval=60.0, store=None)
    assert watcher._state.key == watch["key"], MESSAGE
    tracker = RunCompletionTracker("an-agent", status=None, now=0.0, state=watch["entry"])
    assert not tracker.is_new, MESSAGE
    assert tracker.as_json() == watch["entry"], MESSAGE


@pytest.mark.parametrize("recorded", RECORDED)
def test_xcom_keys_keep_their_names(recorded: dict[str, Any]) -> None:
    package = Path(str(airflow_provider_mosaic.__file__)).parent
    code = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    assert [key for key in recorded["xcom_keys"] if f'"{key}"' not in code] == [], MESSAGE
