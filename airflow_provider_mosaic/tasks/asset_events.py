"""
Describe what a task made in the events of its outlets. Nothing here fails a task.

A DAG that is scheduled on the outlet finds ids, counts and URIs in the event, and needs no XCom. Links that are signed
are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_mosaic.api.redaction import one_line

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
