"""
The buttons of a run: cancel and resume.

The run comes from the task instance, never from the request. The run and the task are read again before anything is
sent. While an action on a run is being sent, others on it are rejected, also by other API servers. Nothing is repeated.
"""

from __future__ import annotations

import logging
from typing import Literal, cast

import anyio
from anyio.to_thread import run_sync
from fastapi import HTTPException

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.runs import Cancelled, Run, RunStatus, cancel_run, get_run, resume_run
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError, MosaicConflictError, MosaicError
from airflow_provider_mosaic.api.outcomes import run_outcome
from airflow_provider_mosaic.page_address import task_path
from airflow_provider_mosaic.plugins.access import Viewer
from airflow_provider_mosaic.plugins.action_lock import acquire, lock_variable, release
from airflow_provider_mosaic.plugins.items import TaskRecord, find_task, log_action
from airflow_provider_mosaic.plugins.mosaic_reads import MosaicReads
from airflow_provider_mosaic.plugins.pages import Action, ActionResult
from airflow_provider_mosaic.tasks.reporting import TaskItem

log = logging.getLogger(__name__)

ActionName = Literal["cancel", "resume"]

#: The states of a task that reads its run itself. It decides what happens with a run that has failed.
_WAITING = frozenset({"scheduled", "queued", "running", "restarting", "deferred", "up_for_reschedule"})

#: What the next attempt of a task does after its run was cancelled or resumed, by the operator. Any other operator may
#: be a subclass of MosaicRunAgentOperator.
_AFTER_CANCEL = {
    "MosaicResumeRunOperator": "then fails (Airflow 3.3 and newer). On Airflow 3.1 and 3.2 it resumes the run, which "
    "may cost credits.",
    "MosaicRunSensor": "then fails.",
    "MosaicCancelRunOperator": "finds it cancelled.",
    "MosaicDownloadOutputsOperator": "reads the run again.",
}
_PAID_AFTER_CANCEL = "then fails. With durable=False it starts another run, which is paid too."
_AFTER_RESUME = {
    "MosaicResumeRunOperator": "waits for the run.",
    "MosaicRunSensor": "waits for the run.",
    "MosaicCancelRunOperator": "cancels the run again.",
    "MosaicDownloadOutputsOperator": "reads the run again.",
}
_PAID_AFTER_RESUME = (
    "waits for the run (Airflow 3.3 and newer). On Airflow 3.1 and 3.2 it fails and names the run. With durable=False "
    "it starts another run, which is paid too."
)


def available_actions(task: TaskRecord, run: Run) -> tuple[Action, ...]:
    """Return what a user may do with the run now."""
    if not run_outcome(run).ended:
        return (_action(task, "cancel", "Cancel run", _cost_of_cancel(task)),)
    # A task with an item and without a state was cleared: its next attempt starts another run.
    is_idle = task.state is not None and task.state not in _WAITING
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED) and is_idle:
        return (_action(task, "resume", "Resume run", _cost_of_resume(task)),)
    return ()


async def act(reads: MosaicReads, task: TaskRecord, name: ActionName, viewer: Viewer) -> ActionResult:
    """
    Cancel or resume the run of a task instance.

    :param viewer: The user. The audit log names them.
    :raises HTTPException: 404, the task has no run.
    """
    item = task.item
    if item is None or item.kind != "run":
        raise HTTPException(404, "The task has no run.")
    lock = lock_variable(item.conn_id, item.id)
    expiry = await run_sync(acquire, lock)
    if not expiry:
        # Waiting would send this action after the other one, whose result its user has not seen.
        return _not_done("Another action on the run is being sent, so nothing was done. Check the run's status first.")
    try:
        return await _check_and_send(reads, task, item, name, viewer)
    finally:
        # Also if the viewer has left.
        with anyio.CancelScope(shield=True):
            await run_sync(release, lock, expiry)


async def _check_and_send(
    reads: MosaicReads, task: TaskRecord, item: TaskItem, name: ActionName, viewer: Viewer
) -> ActionResult:
    try:
        # The page may be old, and so may a read of other viewers. It is sent also in a pause of the connection.
        run = await reads.send_once(item.conn_id, get_run(item.id))
    except MosaicError as error:
        return _not_done(f"The run could not be read, so nothing was done. {error}")
    # After the run, which can take seconds to read: the task may have started an attempt, which decides itself.
    current = await run_sync(find_task, task.key)
    if current is None or current.item != item:
        return _not_done("The task in Airflow has started again, so nothing was done.")
    if name not in {action.name for action in available_actions(current, run)}:
        task_state = current.state or "cleared"
        return _not_done(f"Run {run.run_id} is {run.status}, and its task is {task_state}. There is nothing to {name}.")
    facts = {"mosaic_run_id": item.id, "mosaic_conn_id": item.conn_id, "status": run.status}
    await run_sync(lambda: log_action(task.key, event=f"mosaic_{name}_run", owner=viewer.name, facts=facts))
    call = cast("Call[object]", cancel_run(item.id) if name == "cancel" else resume_run(item.id))
    try:
        result = await reads.send_once(item.conn_id, call)
    except MosaicConflictError as error:
        return _not_done(f"Mosaic did not {name} the run, because its state has changed. {error}")
    except MosaicAmbiguousOutcomeError as error:
        return _not_done(f"Mosaic may have done it: check the run's status before you try again. {error}")
    except MosaicError as error:
        return _not_done(str(error))
    finally:
        reads.forget(item.conn_id)
    log.info("User %r asked Mosaic to %s run %r of task %s.", viewer.name, name, item.id, task.key)
    if isinstance(result, Cancelled) and result.had_no_effect:
        status = await _status_after_cancel(reads, item)
        return _not_done(f"Mosaic found nothing to cancel in run {item.id}. {status}")
    if name == "cancel":
        return ActionResult(done=True, message=f"Mosaic accepted the cancel of run {item.id}.")
    return ActionResult(done=True, message=f"Mosaic resumes run {item.id}.")


async def _status_after_cancel(reads: MosaicReads, item: TaskItem) -> str:
    """Return the status of a run as a sentence. The cancel of a run that is queued can stop nothing."""
    try:
        run = await reads.send_once(item.conn_id, get_run(item.id))
    except MosaicError as error:
        return f"The run could not be read since: check its status. {error}"
    return f"The run is {run.status} now."


def _action(task: TaskRecord, name: ActionName, label: str, cost: str) -> Action:
    return Action(name=name, label=label, url=f"api/{task_path(task.key)}/{name}", cost=cost)


def _not_done(message: str) -> ActionResult:
    return ActionResult(done=False, message=message)


def _cost_of_cancel(task: TaskRecord) -> str:
    money = "The unfinished tiles of the run stop. Mosaic does not document a refund of credits."
    next_attempt = _AFTER_CANCEL.get(task.operator or "", _PAID_AFTER_CANCEL)
    if task.state == "up_for_retry":
        return f"{money} The next attempt of the task {next_attempt}"
    if task.state in ("scheduled", "queued"):
        # Airflow stores the same state for the end of a deferral, for a retry, and after a clear.
        return (
            f"{money} If the task in Airflow continues after its wait, it fails without retries. A retry "
            f"{next_attempt} An attempt after a clear starts from the beginning."
        )
    if task.state in (None, "restarting"):
        return f"{money} The task in Airflow was cleared: its next attempt starts from the beginning."
    if task.state in _WAITING:
        return f"{money} The task in Airflow then fails without retries."
    return f"{money} The task in Airflow stays as it is."


def _cost_of_resume(task: TaskRecord) -> str:
    money = "Mosaic repeats the tiles that failed or did not start, and may charge credits for them."
    if task.state == "up_for_retry":
        next_attempt = _AFTER_RESUME.get(task.operator or "", _PAID_AFTER_RESUME)
        return f"{money} The next attempt of the task {next_attempt}"
    return (
        f"{money} The task in Airflow stays as it is and does not wait for the run: use a MosaicRunSensor. Clearing a "
        "MosaicRunAgentOperator would start another run, which is paid from the beginning."
    )
