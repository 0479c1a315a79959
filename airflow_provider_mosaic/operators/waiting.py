"""The base classes of operators that wait: start or resume, defer, continue after the deferral, cancel on a kill."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_provider_mosaic.base import is_trigger_timeout
from airflow_provider_mosaic.operators.base import MosaicOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mosaic.api.errors import MosaicError
    from airflow_provider_mosaic.durable.deferral import Deferral
    from airflow_provider_mosaic.durable.failures import Consequences
    from airflow_provider_mosaic.tasks.existing_runs import ResumeTask
    from airflow_provider_mosaic.tasks.posts import PostTask
    from airflow_provider_mosaic.tasks.runs import RunTask

T = TypeVar("T")


class WaitingOperator(MosaicOperator):
    """Base class of operators that start or resume something and wait for its end."""

    #: The kind of items that it creates, if the searches of other tasks depend on who owns them.
    _creates: ClassVar[str | None] = None
    #: The task of this execution, for ``on_kill``. None until its arguments are validated.
    _active: RunTask | ResumeTask | PostTask | None = None

    @abstractmethod
    def _task(self) -> RunTask | ResumeTask | PostTask:
        """Return the task with its validated arguments."""

    def execute(self, context: Context) -> str:
        """
        Start it, or continue with what an earlier attempt started; wait for its end, or defer.

        :param context: The task's context.
        """
        with self._validated_arguments(context, creates=self._creates):
            task = self._task()
        return self._run_or_defer(context, task, lambda: task.start(context))

    def execute_complete(self, context: Context, event: dict[str, Any] | None, **deferred: Any) -> str:
        """
        Continue after the deferral: read the status again; return, fail, or defer again.

        :param context: The task's context.
        :param event: The trigger's event.
        :param deferred: The id (``run_id`` or ``post_id``) and the times that the deferral passed on. Empty under
            ``dag.test()``, which drops them (https://github.com/apache/airflow/issues/69942); the event has the id.
        """
        from airflow_provider_mosaic.api.arguments import validate_id
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        with adding_consequences(context, self._not_waiting), fail_without_retry():
            self._leave_out_empty()
            task = self._task()
            key = task.wait.key
            item_id = deferred.pop(key, None) or validate_id(key, (event or {}).get("id"))
        return self._run_or_defer(context, task, lambda: task.wait.resume(context, event, item_id, **deferred))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Continue after a deferral. If the trigger timed out, read the status first, and cancel a run that is not over.

        :param next_method: The method that Airflow calls.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        if is_trigger_timeout(next_method, next_kwargs):
            from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

            with adding_consequences(context, self._not_waiting), fail_without_retry():
                self._leave_out_empty()
                task = self._task()
            result = self._run_or_defer(context, task, lambda: task.wait.resume_after_timeout(context))
            if result is not None:
                return result
        return super().resume_execution(next_method, next_kwargs, context)

    def _run_or_defer(
        self, context: Context, task: RunTask | ResumeTask | PostTask, step: Callable[[], T | Deferral]
    ) -> T:
        """Return the result of a step of the task, or defer if the step returns a deferral."""
        from airflow_provider_mosaic.durable.deferral import Deferral
        from airflow_provider_mosaic.durable.failures import adding_consequences, fail_without_retry

        self._active = task
        with (
            adding_consequences(context, lambda error: task.consequences(context, error)),
            fail_without_retry(*task.non_retryable(context)),
        ):
            result = step()
        if not isinstance(result, Deferral):
            return result
        self.defer(trigger=result.trigger, method_name="execute_complete", kwargs=result.kwargs, timeout=result.timeout)
        raise AssertionError("defer does not return")

    def _not_waiting(self, error: MosaicError) -> Consequences:
        """Return what an error means that ends the task before it continues to wait."""
        from airflow_provider_mosaic.durable.failures import Consequences

        return Consequences(
            means="What the task waited for was not changed, and may keep running.", retry=self._retry_effect
        )


class RunWaitOperator(WaitingOperator):
    """Base class of operators that wait for a run. A run costs credits while it runs, so a kill cancels it."""

    _active: RunTask | ResumeTask | None = None

    @abstractmethod
    def _task(self) -> RunTask | ResumeTask:
        """Return the task with its validated arguments."""

    def on_kill(self) -> None:
        """Cancel the run, within the few seconds that Airflow leaves."""
        if self._active is not None:
            self._active.wait.on_kill()
