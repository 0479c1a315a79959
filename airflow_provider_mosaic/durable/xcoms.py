"""
What a task saves after an effect: with a few tries, and never at the price of the task.

A run that was started is paid, and a post is out, whether or not Airflow can store their ids. A task that failed for
that would be cleared, and paid again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_mosaic.airflow_compat import push_link_xcom
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.redaction import one_line
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.links import AGENT_URL_KEY, MosaicAgentLink, agent_url

log = logging.getLogger(__name__)

#: Seconds between the tries.
_PAUSES = (0.5, 2.0)


def save_best_effort(save: Callable[[], object], *, what: str, consequence: str) -> bool:
    """
    Save something, in a few tries, and log a warning if that fails.

    :param save: Saves it.
    :param what: What is saved, with the id of the run or post that it belongs to.
    :param consequence: What follows if it is not saved.
    :returns: Whether it was saved.
    """
    for pause in (*_PAUSES, None):
        try:
            save()
        except Exception as error:
            if pause is None:
                log.warning(
                    "Airflow could not save %s (%s: %s). %s",
                    what,
                    type(error).__name__,
                    one_line(str(error)),
                    consequence,
                    exc_info=True,
                )
                return False
            time.sleep(pause)
        else:
            return True
    raise AssertionError("the last try returns")


def push_xcom(context: Mapping[str, Any], key: str, value: Any, *, subject: str) -> None:
    """
    Push an XCom about something that has happened already.

    :param context: The task's context.
    :param key: The XCom's key.
    :param value: Its value.
    :param subject: What it belongs to, with its id.
    """
    save_best_effort(
        lambda: context["ti"].xcom_push(key=key, value=value),
        what=f"the XCom {key!r} of {subject}",
        consequence=_consequence(subject),
    )


def push_link(context: Mapping[str, Any], key: str, url: str, *, subject: str) -> None:
    """
    Push the address of a link.

    :param context: The task's context.
    :param key: The link's key.
    :param url: The address.
    :param subject: What it belongs to, with its id.
    """
    save_best_effort(
        lambda: push_link_xcom(context["ti"], key, url),
        what=f"the link {key!r} of {subject}",
        consequence=_consequence(subject),
    )


def push_agent_link(context: Mapping[str, Any], hook: MosaicHook, agent_id: str | None, *, subject: str) -> None:
    """
    Push the address of an agent's page, for users and for the button, where it has one.

    :param context: The task's context.
    :param hook: The connection, which says whether the editor knows the agent.
    :param agent_id: The agent, if it is known.
    :param subject: What the link belongs to, with its id.
    """
    try:
        url = agent_url(agent_id, hook.access.base_url)
    except MosaicError as error:
        log.info("No link to the agent of %s, since the connection could not be read: %s", subject, error)
        return
    if url is not None:
        push_xcom(context, AGENT_URL_KEY, url, subject=subject)
        push_link(context, MosaicAgentLink().xcom_key, url, subject=subject)


def _consequence(subject: str) -> str:
    return (
        f"The task continues with {subject}: nothing is started or published again for this. Tasks that read the XCom "
        "find nothing."
    )
