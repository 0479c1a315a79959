"""What the confirmations of the buttons say about the next attempt of a task, by its operator."""

from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.plugins.actions import available_actions
from airflow_provider_mosaic.plugins.items import TaskKey, TaskRecord
from airflow_provider_mosaic.tasks.reporting import read_item
from plugins.runs import item

KEY = TaskKey(dag_id="nightly", run_id="manual__1", task_id="edit", map_index=-1)
RESUMED = "Mosaic repeats the tiles that failed or did not start, and may charge credits for them."
CANCELLED = "The unfinished tiles of the run stop. Mosaic does not document a refund of credits."
WAITS_OR_STARTS = (
    "The next attempt of the task waits for the run (Airflow 3.3 and newer). On Airflow 3.1 and 3.2 it fails and names "
    "the run. With durable=False it starts another run, which is paid too."
)


def cost(operator: str, *, status: str, state: str | None = "up_for_retry") -> str:
    """Return the confirmation of the only button of a task."""
    task = TaskRecord(key=KEY, state=state, operator=operator, item=read_item(item("run", "r1")))
    [action] = available_actions(task, Run.model_validate({"run_id": "r1", "status": status}))
    return action.cost


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("MosaicRunAgentOperator", WAITS_OR_STARTS),
        ("OwnRunAgentOperator", WAITS_OR_STARTS),
        ("MosaicResumeRunOperator", "The next attempt of the task waits for the run."),
        ("MosaicRunSensor", "The next attempt of the task waits for the run."),
        ("MosaicCancelRunOperator", "The next attempt of the task cancels the run again."),
        ("MosaicDownloadOutputsOperator", "The next attempt of the task reads the run again."),
    ],
)
def test_resume_before_a_retry(operator: str, expected: str) -> None:
    assert cost(operator, status="failed") == f"{RESUMED} {expected}"


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        (
            "MosaicRunAgentOperator",
            "The next attempt of the task then fails. With durable=False it starts another run, which is paid too.",
        ),
        (
            "MosaicResumeRunOperator",
            "The next attempt of the task then fails (Airflow 3.3 and newer). On Airflow 3.1 and 3.2 it resumes the "
            "run, which may cost credits.",
        ),
        ("MosaicRunSensor", "The next attempt of the task then fails."),
        ("MosaicCancelRunOperator", "The next attempt of the task finds it cancelled."),
        ("MosaicDownloadOutputsOperator", "The next attempt of the task reads the run again."),
    ],
)
def test_cancel_before_a_retry(operator: str, expected: str) -> None:
    assert cost(operator, status="running") == f"{CANCELLED} {expected}"


@pytest.mark.parametrize("state", ["scheduled", "queued"])
@pytest.mark.parametrize(
    ("operator", "retry"),
    [
        ("MosaicRunAgentOperator", "then fails. With durable=False it starts another run, which is paid too."),
        (
            "MosaicResumeRunOperator",
            "then fails (Airflow 3.3 and newer). On Airflow 3.1 and 3.2 it resumes the run, which may cost credits.",
        ),
        ("MosaicRunSensor", "then fails."),
    ],
)
def test_cancel_of_a_task_that_may_be_a_retry(operator: str, retry: str, state: str) -> None:
    assert cost(operator, status="running", state=state) == (
        f"{CANCELLED} If the task in Airflow continues after its wait, it fails without retries. A retry {retry} "
        "An attempt after a clear starts from the beginning."
    )


@pytest.mark.parametrize("state", [None, "restarting"])
def test_cancel_of_a_cleared_task(state: str | None) -> None:
    assert cost("MosaicRunAgentOperator", status="running", state=state) == (
        f"{CANCELLED} The task in Airflow was cleared: its next attempt starts from the beginning."
    )
