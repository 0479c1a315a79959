"""
What Mosaic sends to a ``callback_url`` (https://docs.mosaic.so/api/webhooks/events), for a receiver of your own.

The signature is the shared secret itself: it proves who sent it to anyone who has seen it once, and nothing about the
body. What a webhook says is a hint; read the run before you believe it::

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

from airflow_provider_mosaic.api.decoding import decode_json
from airflow_provider_mosaic.api.endpoints.runs import RUN_STATUS_WORDS, NodeCounts, NodeErrors, Output, RunInput
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import Flag, IdOrEmpty, Label, Many, Model, Status, Time, Words
from airflow_provider_mosaic.api.redaction import label

SIGNATURE_HEADER = "X-Mosaic-Signature"
#: Bytes of the longest body that is read: the end of a run with thousands of outputs. A receiver stops reading there.
LONGEST_EVENT = 16 * 1024 * 1024


class UpdatedNode(Model):
    """A node whose status changed."""

    original_node_id: Label | None = None
    status: Status | None = None
    status_message: Words = None
    errors: Many[str] = ()
    outputs: Many[Output] = ()

    documented_statuses = RUN_STATUS_WORDS
    # That of a node is what is told of its errors and outputs; the run itself has both.
    lenient_fields = frozenset({"errors", "outputs"})


class WebhookEvent(Model):
    """
    An event: ``RUN_STARTED``, ``RUN_PROGRESS`` or ``RUN_FINISHED``, and ``TEST`` by the documentation of 2025; any
    other flag is kept as the text it is.

    Events may come late, twice, in another order, or not at all.
    """

    flag: Status
    agent_id: Label | None = None
    run_id: IdOrEmpty | None = None
    status: Status | None = None
    status_message: Words = None
    needs_credits: Flag = Field(default=False, validation_alias=AliasChoices("needs_credits", "needsCredits"))
    node_status_counts: NodeCounts = NodeCounts()
    errors: Many[NodeErrors] = ()
    inputs: Many[RunInput] = ()
    outputs: Many[Output] = ()
    updated_nodes: Many[UpdatedNode] = ()
    triggered_by: dict[str, Any] | None = None
    #: Of a ``TEST`` alone, whose ``run_id`` is the word ``test`` and no run.
    message: Words = None
    timestamp: Time = None

    documented_statuses = RUN_STATUS_WORDS
    # It is a hint to read the run: where the rest has an older or newer form, the flag and the ids still are one.
    lenient_fields = frozenset({"node_status_counts", "errors", "inputs", "outputs", "updated_nodes", "triggered_by"})


def signature_fits(signature: str | None, secret: str) -> bool:
    """
    Whether a webhook carries the shared secret, compared in constant time.

    :param signature: The header ``X-Mosaic-Signature``.
    :param secret: The secret from Mosaic's dashboard; an empty one fits nothing.
    """
    if not signature or not secret:
        return False
    try:
        given, known = (text.encode("utf-8", "surrogateescape") for text in (signature, secret))
    except UnicodeEncodeError:
        # No bytes of a header decode to this text.
        return False
    return hmac.compare_digest(given, known)


def read_event(body: bytes | str) -> WebhookEvent:
    """
    The event that a webhook's body holds.

    :param body: The body as it was received, at most :data:`LONGEST_EVENT` bytes.
    :raises MosaicResponseError: It is no event. Answer the request with 400: another sending would be no event either.
    """
    if len(body) > LONGEST_EVENT:
        raise MosaicResponseError(f"The webhook's body is longer than {LONGEST_EVENT // 1024 // 1024} MiB.")
    try:
        return WebhookEvent.model_validate(decode_json(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = label(".".join(map(str, first["loc"]))) or "the body"
        raise MosaicResponseError(f"The webhook can't be read: '{place}' is missing or wrong.") from None
    except (ValueError, ArithmeticError, RecursionError):
        raise MosaicResponseError("The webhook's body is not JSON.") from None
