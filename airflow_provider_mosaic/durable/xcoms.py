"""
Save what a task did already, in a few attempts. A failure to save does not fail the task.

A run that was started is paid, and a post is public, whether or not Airflow can save their ids. If the task failed for
that, a user would clear it and pay for another run, or publish another post.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import push_database_xcom
from airflow_provider_mosaic.api.redaction import one_line

log = logging.getLogger(__name__)

#: Seconds between the attempts.
_PAUSES = (0.5, 2.0)


def save_best_effort(save: Callable[[], object], *, what: str, consequence: str) -> None:
    """
    Save something, in a few attempts, and log a warning if all fail.

    :param what: What is saved, with the id of its item.
    :param consequence: What follows if it is not saved, as a sentence.
    """
    for pause in _PAUSES:
        try:
            save()
            return
        except Exception:
            time.sleep(pause)
    try:
        save()
    except Exception as error:
        log.warning(
            "Airflow could not save %s (%s: %s). %s",
            what,
            type(error).__name__,
            one_line(str(error)),
            consequence,
            exc_info=True,
        )


def push_xcom(context: Mapping[str, Any], key: str, value: Any, *, subject: str) -> None:
    """
    Push an XCom about something that has happened.

    :param subject: The item that it belongs to, with its id.
    """
    save_best_effort(
        lambda: context["ti"].xcom_push(key=key, value=value),
        what=f"the XCom {key!r} of {subject}",
        consequence=_consequence(subject),
    )


def push_link(context: Mapping[str, Any], key: str, url: str, *, subject: str) -> None:
    """
    Push the URL of an operator link.

    :param subject: The item that it belongs to, with its id.
    """
    save_best_effort(
        lambda: push_database_xcom(context["ti"], key, url),
        what=f"the link {key!r} of {subject}",
        consequence=_consequence(subject),
    )


def _consequence(subject: str) -> str:
    return (
        f"The task continues with {subject}: nothing is started or published again for this. Tasks that read the XCom "
        "find nothing."
    )
