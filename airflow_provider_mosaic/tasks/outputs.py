"""Read the outputs of a run that has ended. They may appear a moment after the end."""

from __future__ import annotations

import logging

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.durable.reads import read_until
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


def with_outputs(hook: MosaicHook, run: Run) -> Run:
    """
    Return the run, read again a few times if it succeeded and an output or its file is missing.

    It is not documented whether outputs appear together with the status
    (https://docs.mosaic.so/api/agent-runs/get-agent-run). An output that is missing here is not downloaded or posted.
    """

    def read() -> Run:
        nonlocal run
        try:
            run = hook.get_run(run.run_id)
        except MosaicError as error:
            log.info("The outputs of run %r could not be read again: %s", run.run_id, error)
        return run

    return read_until(read, _is_complete, first=run)


def _is_complete(run: Run) -> bool:
    may_have_outputs = run_outcome(run).outcome in (Outcome.SUCCESS, Outcome.PARTIAL)
    return not may_have_outputs or (bool(run.outputs) and all(output.media_url for output in run.outputs))
