"""Read the outputs of a run that has ended. They may appear a moment after the end."""

from __future__ import annotations

import logging
import time

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: Seconds between the reads. A run without any output waits for all of them.
_PAUSES = (1.0, 2.0, 4.0, 8.0)


def with_outputs(hook: MosaicHook, run: Run) -> Run:
    """
    Return the run, read again a few times if it succeeded and an output or its file is missing.

    It is not documented whether outputs appear together with the status
    (https://docs.mosaic.so/api/agent-runs/get-agent-run). An output that is missing here is not downloaded or posted.
    """
    for pause in _PAUSES:
        if run_outcome(run).outcome not in (Outcome.SUCCESS, Outcome.PARTIAL) or _has_outputs(run):
            break
        time.sleep(pause)
        try:
            run = hook.get_run(run.run_id)
        except MosaicError as error:
            log.info("The outputs of run %r could not be read again: %s", run.run_id, error)
    return run


def _has_outputs(run: Run) -> bool:
    return bool(run.outputs) and all(output.media_url for output in run.outputs)
