"""
Report what a task read and made to Airflow's hook lineage, for readers such as OpenLineage. Nothing here fails a task.

Files have their paths or URIs. Something in Mosaic has the URI ``mosaic://<host>/<kind>/<id>``, which is the same in
every task, so a reader connects the task that uploads an asset with the run that uses it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from airflow_provider_mosaic.airflow_compat import has_lineage_readers
from airflow_provider_mosaic.api.arguments import uri_scheme
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)


def report_lineage(hook: MosaicHook, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """
    Report datasets. Without a reader of hook lineage nothing happens, and neither argument is iterated.

    :param inputs: Paths, or URIs without credentials, of what the task read.
    :param outputs: The same of what it made.
    """
    try:
        if not has_lineage_readers():
            return
        from airflow.providers.common.compat.sdk import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        for location in inputs:
            collector.add_input_asset(context=hook, uri=_uri(location))
        for location in outputs:
            collector.add_output_asset(context=hook, uri=_uri(location))
    except Exception as error:
        log.warning(
            "The inputs and outputs of this task were not reported to hook lineage (%s: %s). The task continues.",
            type(error).__name__,
            one_line(str(error)),
        )


def mosaic_uris(
    hook: MosaicHook, kind: Literal["agents", "assets", "outputs", "posts"], ids: Iterable[str | None]
) -> Iterator[str]:
    """Yield the URIs of items in Mosaic. An item whose id is unknown has none."""
    host = urlsplit(hook.access.base_url).netloc
    for id in ids:
        if id:
            yield f"mosaic://{host}/{kind}/{quote(id, safe='')}"


def _uri(location: str) -> str:
    return location if uri_scheme(location) else Path(location).absolute().as_uri()
