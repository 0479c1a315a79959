"""What tasks do to a run that exists already, whoever started it: resume it and wait, or cancel it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.arguments import checked_id
from airflow_provider_mosaic.api.errors import MosaicConflictError, MosaicValidationError
from airflow_provider_mosaic.api.verdicts import Standing, judge_run
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.links import RUN_URL_KEY, agent_url
from airflow_provider_mosaic.tasks.failing import fail_exception
from airflow_provider_mosaic.tasks.memory import Record, TaskMemory
from airflow_provider_mosaic.tasks.runs import RUN_ID_KEY, RunOrder, RunTask
from airflow_provider_mosaic.tasks.waiting import Deferral

log = logging.getLogger(__name__)


class ResumeTask(RunTask):
    """
    One slice of the task on a worker. It waits, judges and cancels as the one that starts runs does.

    :param order: What is asked for; what it says of a start is not used.
    :param hook: The connection.
    :param run_id: The run.
    :param operator_class: The class of tasks that resume runs.
    """

    def __init__(self, order: RunOrder, hook: MosaicHook, *, run_id: str, operator_class: type[Any]) -> None:
        super().__init__(order, hook, operator_class=operator_class)
        self._wanted_id = checked_id("run_id", run_id)

    @classmethod
    def of(cls, hook: MosaicHook, *, run_id: str, operator_class: type[Any], **options: Any) -> ResumeTask:
        """
        From an operator's arguments.

        :param hook: The connection.
        :param run_id: The run.
        :param operator_class: The class of tasks that resume runs.
        :param options: How to wait, as :meth:`RunOrder.checked` takes it.
        :raises MosaicValidationError: One of them is wrong.
        """
        start = {"agent_id": "", "inputs": {}, "durable": True, "on_retry": "resume", "on_ambiguous": "fail"}
        return cls(RunOrder.checked(**start, **options), hook, run_id=run_id, operator_class=operator_class)

    def start(self, context: Mapping[str, Any]) -> str | Deferral:
        """
        Resume the run if it failed or was cancelled, then wait for it.

        :param context: The task's context.
        :returns: The run id, or how to wait for it in the triggerer.
        """
        run_id = self._wanted_id
        deadline = self._deadline(context)
        run = self._hook.get_run(run_id)
        context["ti"].xcom_push(key=RUN_ID_KEY, value=run_id)
        if run.agent_id:
            context["ti"].xcom_push(key=RUN_URL_KEY, value=agent_url(run.agent_id))
        standing = judge_run(run).standing
        if standing is Standing.BAD:
            if deadline is not None and time.time() >= deadline:
                # What is resumed now would be cancelled at once, and paid.
                raise fail_exception(self._failure(run, "The time given for it is over: it is not resumed."))
            self._resume(run)
        elif standing is Standing.WAITING:
            log.info("Run %r is %s already: there is nothing to resume.", run_id, run.status)
        else:
            log.info("Run %r is %s, which can't be resumed: taking it as it is.", run_id, run.status)
        self._run_id = run_id
        if self._killed:
            raise self._killed_error(run_id, self._given_up(run_id))
        if not self._order.wait_for_completion:
            return run_id
        return self._wait(context, run_id, deadline=deadline)

    def _deadline(self, context: Mapping[str, Any]) -> float | None:
        """When to stop waiting: set by the first try, and kept by those that follow."""
        memory = TaskMemory(context, kind="resume", request=self._wanted_id)
        record = memory.recall()
        if record is None or not record.noted:
            now, timeout = time.time(), self._order.timeout
            record = Record(began=now, id=self._wanted_id, deadline=None if timeout is None else now + timeout)
            memory.note(record)
        return record.deadline


def cancel(hook: MosaicHook, run_id: str) -> str:
    """
    Cancel a run; one that has ended already is left as it is.

    :param hook: The connection.
    :param run_id: The run.
    :returns: The run id.
    :raises MosaicError: It goes on, or it is not known.
    """
    checked_id("run_id", run_id)
    try:
        hook.cancel_run(run_id)
    except (MosaicConflictError, MosaicValidationError) as refusal:
        # How a run that has ended refuses to be cancelled is not documented, so the run itself is asked.
        run = hook.get_run(run_id)
        if not judge_run(run).ended:
            raise refusal
        log.info("Run %r had ended already, as %s: there is nothing to cancel.", run_id, run.status)
    else:
        log.info("Run %r is cancelled.", run_id)
    return run_id
