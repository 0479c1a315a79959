"""
Read the webhooks that Mosaic sends to a ``callback_url`` (https://docs.mosaic.so/api/webhooks/events).

The receiver inside Airflow (``plugins/webhooks.py``) uses this module, and one of yours can. The signature is the
shared secret itself: anyone who has seen it once can send it, and it does not depend on the body. Treat a webhook
as a hint, and read the run::

    def receive(headers, body, hook, secret):
        if not signature_fits(headers.get(SIGNATURE_HEADER), secret):
            return 401
        event = read_event(body)
        if event.flag == "RUN_FINISHED" and event.run_id:
            run = hook.get_run(event.run_id)
            ...
        return 200
"""

from __future__ import annotations

import hmac
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from airflow_provider_mosaic.api.call import invalid_field
from airflow_provider_mosaic.api.endpoints.runs import RUN_STATUS_WORDS, NodeCounts, NodeErrors, Output, RunInput
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import Flag, IdOrEmpty, Label, Many, Model, Status, Time, Words
from airflow_provider_mosaic.api.responses import MAX_VALUES, decode_json, has_more_values

SIGNATURE_HEADER = "X-Mosaic-Signature"
#: Bytes of the longest accepted body: the end of a run with thousands of outputs. A receiver should not read more.
MAX_EVENT_SIZE = 16 * 1024 * 1024


class UpdatedNode(Model):
    """A node whose status changed."""

    original_node_id: Label | None = None
    status: Status | None = None
    status_message: Words = None
    errors: Many[str] = ()
    outputs: Many[Output] = ()

    documented_statuses = RUN_STATUS_WORDS
    # The run itself has both.
    lenient_fields = frozenset({"errors", "outputs"})


class WebhookEvent(Model):
    """
    A webhook event: ``RUN_STARTED``, ``RUN_PROGRESS``, ``RUN_FINISHED``, or ``TEST`` of 2025. Other flags are kept.

    Events may arrive late, twice, in another order, or never.
    """

    flag: Status
    agent_id: Label | None = None
    run_id: IdOrEmpty | None = None
    status: Status | None = None
    status_message: Words = None
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))
    node_status_counts: NodeCounts = Field(default_factory=NodeCounts)
    errors: Many[NodeErrors] = ()
    inputs: Many[RunInput] = ()
    outputs: Many[Output] = ()
    updated_nodes: Many[UpdatedNode] = ()
    triggered_by: dict[str, Any] | None = None
    #: Only in a ``TEST``, whose ``run_id`` is the text ``test``.
    message: Words = None
    timestamp: Time = None

    documented_statuses = RUN_STATUS_WORDS
    # The flag and the ids are enough to read the run.
    lenient_fields = frozenset({"node_status_counts", "errors", "inputs", "outputs", "updated_nodes", "triggered_by"})


def signature_fits(signature: str | None, secret: str) -> bool:
    """
    Return whether a webhook has the shared secret. Compare in constant time.

    :param signature: Header ``X-Mosaic-Signature``.
    :param secret: Secret of Mosaic's dashboard. An empty secret never matches.
    """
    if not signature or not secret:
        return False
    try:
        received, expected = (text.encode("utf-8", "surrogateescape") for text in (signature, secret))
    except UnicodeEncodeError:
        # No header decodes to this text.
        return False
    # Servers of ASGI and WSGI decode the bytes of a header as Latin-1.
    as_latin = signature.encode("latin-1", "backslashreplace")
    return hmac.compare_digest(received, expected) | hmac.compare_digest(as_latin, expected)


def read_event(body: bytes | str) -> WebhookEvent:
    """
    Read the event in the body of a webhook.

    :param body: At most :data:`MAX_EVENT_SIZE` bytes.
    :raises MosaicResponseError: The body is not an event. Respond with 400: a retry would send the same body.
    """
    if len(body) > MAX_EVENT_SIZE:
        raise MosaicResponseError(f"The webhook's body is longer than {MAX_EVENT_SIZE // 1024 // 1024} MiB.")
    if has_more_values(body.encode("utf-8", "replace") if isinstance(body, str) else body, MAX_VALUES):
        raise MosaicResponseError("The webhook's body has too many values for an event.")
    try:
        return WebhookEvent.model_validate(decode_json(body))
    except ValidationError as error:
        raise MosaicResponseError(f"The webhook can't be read: {invalid_field(error)}.") from None
    except (ValueError, ArithmeticError, RecursionError):
        raise MosaicResponseError("The webhook's body is not JSON.") from None
