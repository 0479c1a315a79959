"""What operators that wait for the end of what they began have in common: deferring, going on, being killed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.durable.completion_waiter import Deferral
    from airflow_provider_mosaic.durable.failures import Consequences
    from airflow_provider_mosaic.tasks.existing_runs import ResumeTask
    from airflow_provider_mosaic.tasks.posts import PostTask
    from airflow_provider_mosaic.tasks.runs import RunTask


class WaitingOperator(MosaicOperator):
    """An operator that begins something, or has it go on, and waits for its end."""

    #: The kind of things that it begins, if the other tasks of the DAG run must be able to tell whose they are.
    _creates: ClassVar[str | None] = None

    @abstractmethod
    def _task(self) -> RunTask | ResumeTask | PostTask:
        """What the task does, from its checked arguments."""

    def execute(self, context: Context) -> str:
        """
        Begin it, or go on with an earlier try's, and wait for its end or defer.

        :param context: The task's context.
        """
        with self._validated_arguments(context, begins=self._creates):
            task = self._task()
        return self._run_or_defer(context, task, lambda: task.start(context))

    def _resume(
        self, context: Context, event: dict[str, Any] | None, subject_id: str | None, **clocks: float | None
    ) -> str:
        """Go on after the wait in the triggerer."""
        from airflow_provider_mosaic.api.arguments import validate_id
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        with adding_consequences(context, self._not_waiting), fail_without_retry():
            self._remove_empty()
            task = self._task()
            # dag.test() drops what a deferral hands on (https://github.com/apache/airflow/issues/69942).
            known = subject_id or validate_id(task.wait.key, (event or {}).get("id"))
        task.waits_for(known)
        return self._run_or_defer(context, task, lambda: task.wait.resume(context, event, known, **clocks))

    def _run_or_defer(
        self, context: Context, task: RunTask | ResumeTask | PostTask, act: Callable[[], str | Deferral]
    ) -> str:
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        self._set_active(task)
        with (
            adding_consequences(context, lambda error: task.stakes(context, error)),
            fail_without_retry(*task.non_retryable(context)),
        ):
            outcome = act()
        if isinstance(outcome, str):
            return outcome
        self.defer(
            trigger=outcome.trigger, method_name="execute_complete", kwargs=outcome.kwargs, timeout=outcome.timeout
        )
        raise AssertionError("defer does not return")

    def _not_waiting(self, error: MosaicError) -> Consequences:
        from airflow_provider_mosaic.durable.failures import Consequences

        return Consequences(
            means="What the task has waited for was left alone, and may keep running.", retry=self._retry
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral; when Airflow gave up on the trigger, read the end first, and cancel a run that goes on.

        :param next_method: What Airflow wants to be called.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        # What Airflow calls and says when a trigger's time is over (TriggerFailureReason.TRIGGER_TIMEOUT).
        if next_method == "__fail__" and (next_kwargs or {}).get("error") == "Trigger timeout":
            from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

            self._remove_empty()
            task = self._task()
            self._set_active(task)
            with (
                adding_consequences(context, lambda error: task.stakes(context, error)),
                fail_without_retry(*task.non_retryable(context)),
            ):
                ended = task.wait.resume_after_timeout(context)
            if ended is not None:
                return ended
        return super().resume_execution(next_method, next_kwargs, context)

    def _set_active(self, task: Any) -> None:
        """From here on the task may be killed."""


class RunWaitOperator(WaitingOperator):
    """One that waits for the end of a run, which costs as long as it goes on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._running: RunTask | ResumeTask | None = None

    @abstractmethod
    def _task(self) -> RunTask | ResumeTask:
        """What the task does, from its checked arguments."""

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any] | None,
        run_id: str | None = None,
        deadline: float | None = None,
        began: float | None = None,
    ) -> str:
        """
        Go on after the wait in the triggerer.

        :param context: The task's context.
        :param event: What the trigger says.
        :param run_id: The run that was waited for; None for the event's.
        :param deadline: The operator's own deadline, in seconds since the epoch.
        :param began: When the try began, in seconds since the epoch.
        """
        return self._resume(context, event, run_id, deadline=deadline, began=began)

    def on_kill(self) -> None:
        """Cancel the run, within the few seconds that are left."""
        if self._running is not None:
            self._running.wait.on_kill()

    def _set_active(self, task: RunTask | ResumeTask) -> None:
        self._running = task
