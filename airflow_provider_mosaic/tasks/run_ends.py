"""
What a task does with a run that has ended, whether the task started it or only read it: read its outputs, push its
status, and succeed, fail or skip by its outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, get_run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.api.reports import node_lines, run_failure
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.durable.failures import log_lines
from airflow_provider_mosaic.durable.reads import pauses_between_reads, read_until
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import NEEDS_CREDITS_KEY, OUTPUT_IDS_KEY, STATUS_KEY, push_xcom

log = logging.getLogger(__name__)


def with_outputs(hook: MosaicHook, run: Run) -> Run:
    """
    Return the run. If it succeeded, read it again until two reads show the same outputs, and each has its file.

    It is not documented whether outputs appear together with the status, nor their order
    (https://docs.mosaic.so/api/agent-runs/get-agent-run). An output that is missing here is not downloaded or posted.

    A run that has not ended is read again for 15 seconds: the read may be older than the end that a wait has seen.
    """
    if not run_outcome(run).ended:
        run = read_until(lambda: hook.get_run(run.run_id), lambda now: run_outcome(now).ended)
    if not _has_succeeded(run):
        return run
    for _ in pauses_between_reads():
        again = _read_again(hook, run)
        if again is None:
            continue
        before, run = run, again
        if _output_ids(run) == _output_ids(before) and _has_all_files(run):
            break
    return run


def _read_again(hook: MosaicHook, run: Run) -> Run | None:
    """Read a run that has succeeded; None if that fails, or if the response is older than the end."""
    # A late output is worth the pauses that an outage or a rate limit costs.
    retries = ONCE if _has_all_files(run) else None
    try:
        again = hook.send(get_run(run.run_id), retries=retries)
    except MosaicError as error:
        log.info("The outputs of run %r could not be read again. Late ones may be missing. %s", run.run_id, error)
        return None
    return again if _has_succeeded(again) else None


def _output_ids(run: Run) -> list[str]:
    return sorted(output.output_id for output in run.outputs)


def _has_succeeded(run: Run) -> bool:
    return run_outcome(run).outcome in (Outcome.SUCCESS, Outcome.PARTIAL)


def _has_all_files(run: Run) -> bool:
    return bool(run.outputs) and all(output.media_url for output in run.outputs)


def push_end(context: Mapping[str, Any], run: Run) -> None:
    """Push the status and the outputs of a run at the end of the wait, and whether it is short of credits."""
    push_xcom(context, STATUS_KEY, run.status, name=f"run {run.run_id!r}")
    push_xcom(context, OUTPUT_IDS_KEY, run.output_ids, name=f"run {run.run_id!r}")
    if run.needs_credits:
        push_xcom(context, NEEDS_CREDITS_KEY, True, name=f"run {run.run_id!r}")


def nodes_of(hook: MosaicHook, run: Run) -> tuple[RunNode, ...]:
    """Return the nodes of a run for its report; none if they can't be read."""
    try:
        return hook.get_run_nodes(run.run_id)
    except MosaicError as error:
        log.info("The nodes of run %r could not be read. Its report does not name them. %s", run.run_id, error)
        return ()


def raise_unless_successful(
    context: Mapping[str, Any], hook: MosaicHook, run: Run, *, on_partial: str, advice: str = ""
) -> None:
    """
    Log how a run ended, and fail or skip accordingly.

    :param on_partial: What to do if only some nodes succeeded: ``warn``, ``fail`` or ``skip``.
    :param advice: What a user can do about a failed run, instead of the usual advice.
    :raises MosaicRunFailedError: The run failed.
    """
    outcome = run_outcome(run).outcome
    if outcome is Outcome.SUCCESS:
        log.info("Run %r is completed with %d output(s).", run.run_id, len(run.outputs))
        return
    nodes = nodes_of(hook, run)
    if outcome is Outcome.PARTIAL and on_partial == "fail":
        # Downstream tasks find the run if a user accepts its outputs and marks this task as success.
        push_xcom(context, "return_value", run.run_id, name=f"run {run.run_id!r}")
    if outcome is Outcome.FAILED or on_partial == "fail":
        raise run_failure(run, nodes, advice=advice)
    summary = f"Run {run.run_id!r} ended partly: {len(run.outputs)} output(s) exist."
    log_lines((summary, *node_lines(run, nodes)), level=logging.WARNING)
    if on_partial == "skip":
        raise AirflowSkipException(summary)
