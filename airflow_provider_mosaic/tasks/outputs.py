"""The outputs of a run that has ended: they may be shown a moment later than the end."""

from __future__ import annotations

import logging
import time

from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.outcomes import Outcome, run_outcome
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: Seconds between the looks. An agent may render nothing at all: then these are spent in vain.
_PAUSES = (1.0, 2.0, 4.0, 8.0)


def with_outputs(hook: MosaicHook, run: Run) -> Run:
    """
    The run, read again a few times while it has ended well and shows no outputs, or one without its file.

    Whether the outputs are there at once with the status is not documented
    (https://docs.mosaic.so/api/agent-runs/get-agent-run), and what is not seen here is not fetched or posted.

    :param hook: The connection.
    :param run: The run as it was read last.
    """
    for pause in _PAUSES:
        if run_outcome(run).outcome not in (Outcome.SUCCESS, Outcome.PARTIAL) or _are_shown(run):
            break
        time.sleep(pause)
        try:
            run = hook.get_run(run.run_id)
        except MosaicError as error:
            log.info("The outputs of run %r could not be looked for again: %s", run.run_id, error)
    return run


def _are_shown(run: Run) -> bool:
    return bool(run.outputs) and all(output.media_url for output in run.outputs)
