"""What operators that wait for a run they began have in common: deferring, going on, being killed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.tasks.runs import RunTask
    from airflow_provider_mosaic.tasks.waiting import Deferral


class RunWaitOperator(BaseOperator):
    """An operator that begins a run, or has it go on, and waits for its end."""

    ui_color = "#e9e4fb"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._running: RunTask | None = None

    @abstractmethod
    def _task(self) -> RunTask:
        """What the task does, from its checked arguments."""

    def execute(self, context: Context) -> str:
        """
        Begin the run, or go on with an earlier try's, and wait for its end or defer.

        :param context: The task's context.
        """
        from airflow_provider_mosaic.tasks.failing import failing_at_once

        with failing_at_once():
            task = self._running = self._task()
        with failing_at_once(*task.hopeless):
            return self._outcome(task.start(context))

    def execute_complete(
        self, context: Context, event: dict[str, Any] | None, run_id: str, deadline: float | None = None
    ) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param run_id: The run that was waited for.
        :param deadline: The operator's own deadline, in seconds since the epoch.
        """
        from airflow_provider_mosaic.tasks.failing import failing_at_once

        with failing_at_once():
            task = self._running = self._task()
        with failing_at_once(*task.hopeless):
            return self._outcome(task.go_on(context, event, run_id, deadline))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave up on the trigger, cancel the run before the task fails.

        :param next_method: What Airflow wants to be called.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        # What Airflow calls and says when a trigger's time is over (TriggerFailureReason.TRIGGER_TIMEOUT).
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            self._task().abandoned(context)
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the run, within the few seconds that are left."""
        if self._running is not None:
            self._running.killed()

    def _outcome(self, outcome: str | Deferral) -> str:
        if isinstance(outcome, str):
            return outcome
        self.defer(
            trigger=outcome.trigger,
            method_name="execute_complete",
            kwargs=outcome.kwargs,
            timeout=outcome.timeout,
        )
        raise AssertionError("defer does not return")
