"""
Tell Airflow what a task read and made: in the events of its outlets, and to the readers of hook lineage.

A DAG that is scheduled on the outlet finds ids, counts and URIs in the event, and needs no XCom. Links that are signed
are left out. Nothing here fails a task.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from airflow_provider_mosaic.airflow_compat import has_lineage_readers
from airflow_provider_mosaic.api.arguments import uri_scheme
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

log = logging.getLogger(__name__)

#: Most items of a list in an event: Airflow keeps events in its database. The count is complete.
_MAX_ITEMS = 1000


def add_to_outlet_events(context: Mapping[str, Any], **facts: Any) -> None:
    """
    Add facts to the ``extra`` of the asset events that the task creates when it succeeds.

    :param facts: JSON values. Long lists are shortened.
    """
    try:
        outlets = context["ti"].task.outlets
        if not outlets:
            return
        from airflow.sdk import AssetAlias

        extra = {name: value[:_MAX_ITEMS] if isinstance(value, list) else value for name, value in facts.items()}
        for outlet in outlets:
            # An alias has no event of its own.
            if not isinstance(outlet, AssetAlias):
                context["outlet_events"][outlet].extra.update(extra)
    except Exception as error:
        log.warning(
            "The asset events of this task lack details (%s: %s). The task continues.",
            type(error).__name__,
            one_line(str(error)),
        )


def report_lineage(hook: MosaicHook, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """
    Report files to Airflow's hook lineage, for example for OpenLineage. Without a reader of it, nothing happens.

    :param inputs: Paths, or URIs without credentials, of the files that the task read.
    :param outputs: The same for the files that it wrote.
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
            "The files of this task were not reported to hook lineage (%s: %s). The task continues.",
            type(error).__name__,
            one_line(str(error)),
        )


def _uri(location: str) -> str:
    return location if uri_scheme(location) else Path(location).absolute().as_uri()
