"""
A :class:`Call`: a request to one endpoint, ready to be sent.

It holds everything that is specific to the API: path, body, how to read the response, the timeout, and whether it may
be sent again. The transports only carry bytes.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicNotFoundError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.file_links import link_secrets
from airflow_provider_mosaic.api.redaction import label, redact, remember_signed
from airflow_provider_mosaic.api.refusals import find_refusal, ids_in_success, texts_in, without_envelope
from airflow_provider_mosaic.api.response_errors import error_for, refusal_error
from airflow_provider_mosaic.api.responses import Response, decode_json, describe_body, is_web_page

T = TypeVar("T")
E = TypeVar("E", bound=MosaicError)

#: The decoded body of a request or a response.
Json = Any

#: Size limit of a response.
_MAX_BYTES = 1024 * 1024
#: Size limit of a page of a hundred rows, and of a run with thousands of outputs.
MAX_BYTES_OF_MANY = 16 * 1024 * 1024


class RetrySafety(enum.Enum):
    """Whether a call may be sent again."""

    #: A second request has no other effect than the first: reads, finalize, cancel.
    SAFE = "safe"
    #: A second request may create a second run, post or agent. It is sent only if the first had no effect for certain.
    HAS_EFFECTS = "has effects"
    #: The request moves money and is never sent again automatically.
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """
    One request to the Mosaic API, and how to read its response.

    :param description: What it does, as it follows "could not", for example ``cancel run 'x'``.
    :param method: The HTTP method. Reads need not name it.
    :param path: Path template, for example ``/agent_run/{run_id}``.
    :param ids: Values of the template's placeholders.
    :param query: Query parameters. None values are left out.
    :param body: JSON body. None sends none.
    :param workspace_id: Workspace to restrict the request to. None: that of the connection. Empty: none.
    :param read: Convert the decoded response, which is None for an empty body, to a ``T``.
    :param decode: Decode the JSON of the response. A decoder of only some fields raises what :func:`decode_json`
        raises.
    :param retry_safety: Whether it may be sent again.
    :param min_timeout: Seconds to wait for the response, if the connection's timeout is shorter.
    :param max_bytes: Size limit of the response.
    :param max_values_on_loop: Values of a response above which a triggerer decodes it in a thread. Models take up to
        0.1 ms for a value.
    :param makes: Name of the id of what it creates; empty if it creates nothing.
    :param deletes: Whether it deletes what the ids name.
    :param is_normal: Return whether the body of an error or of a refusal is a normal response to this call.
    :param shows_effect: Return whether the body of an error shows that the call had an effect, without an id.
    """

    description: str
    path: str
    read: Callable[[Json], T] = field(repr=False)
    method: str = "GET"
    decode: Callable[[bytes], Json] = field(default=decode_json, repr=False)
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    body: Json = field(default=None, repr=False)
    workspace_id: str | None = None
    retry_safety: RetrySafety = RetrySafety.SAFE
    min_timeout: float = 0.0
    max_bytes: int = _MAX_BYTES
    max_values_on_loop: int = 1_000
    makes: str = field(default="", repr=False)
    deletes: bool = False
    is_normal: Callable[[Json], bool] | None = field(default=None, repr=False)
    shows_effect: Callable[[Json], bool] = field(default=lambda data: False, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.ids.items():
            validate_id(name, value)
        # The response may repeat parts of a signed link.
        for text in texts_in(self.body):
            if "://" in text:
                remember_signed(link_secrets(text, path=False))
        # A caller may have passed a secret as an id.
        object.__setattr__(self, "description", redact(self.description))

    @property
    def target(self) -> str:
        """Path and query. Reading it raises MosaicValidationError if no URL can hold an argument."""
        path = self.path.format_map({name: quote(value, safe="") for name, value in self.ids.items()})
        try:
            query = urlencode({name: value for name, value in self.query.items() if value is not None})
        except UnicodeEncodeError:
            raise MosaicValidationError(
                f"Could not {self.description}: an argument contains a character that is "
                "not valid Unicode (half of a surrogate pair). Nothing was sent."
            ) from None
        return f"{path}?{query}" if query else path

    @property
    def content(self) -> bytes | None:
        """Serialized body."""
        return None if self.body is None else json.dumps(self.body, allow_nan=False).encode()

    def result(self, response: Response, secrets: tuple[str, ...] = (), *, why_not_followed: str = "") -> T:
        """
        Return the result in the response.

        :param why_not_followed: Why a redirect to the same host was not followed; empty for other redirects.
        """
        if not response.ok and not self._is_normal_error(response):
            raise error_for(self, response, secrets=secrets, why_not_followed=why_not_followed)
        returned, status = f"returned {response.status}", response.status
        try:
            data = response.json(self.decode)
        except ValueError:
            raise self.error(
                MosaicResponseError,
                f"{returned} with {describe_body(response, secrets)}.",
                to_do="Check that the connection's host is Mosaic's.",
                status=status,
                transient=True,
                # A page may come from a proxy or a login service, before the request reached Mosaic.
                accepted=not is_web_page(response),
            ) from None
        refusal = find_refusal(self, data)
        inner = without_envelope(data)
        if refusal is None and inner is not data:
            refusal, data = find_refusal(self, inner), inner
        if refusal is not None and not (self.is_normal and self.is_normal(data)):
            raise refusal_error(self, refusal, response, secrets)
        try:
            return self.read(data)
        except (InvalidResponse, ValueError, ArithmeticError, RecursionError) as error:
            # A retry may return a whole body instead of an empty one, but no missing field.
            raise self.error(
                MosaicResponseError,
                f"{returned}, but {invalid_field(error) if data is not None else 'its body is empty'}.",
                status=status,
                transient=data is None,
                accepted=True,
                candidates=ids_in_success(self, data),
            ) from None

    def _is_normal_error(self, response: Response) -> bool:
        if self.is_normal is None:
            return False
        try:
            return self.is_normal(response.json(self.decode))
        except ValueError:
            return False

    def error(self, kind: type[E], problem: str, **facts: Any) -> E:
        """
        Return an error of this call.

        :param problem: What happened. It follows method and path in the message.
        :param facts: Further arguments of the exception.
        """
        message = f"Could not {self.description}: {self.method} {self.path} {problem}"
        return kind(message, method=self.method, path=self.path, **facts)

    def final_error(self, error: MosaicError, retried: Sequence[MosaicError] = ()) -> MosaicError:
        """
        Return the error to raise when the call is not sent again.

        :param error: The last error. If it leaves open whether the call had an effect, the result says so.
        :param retried: The errors before it.
        """
        if self.deletes and isinstance(error, MosaicNotFoundError) and any(each.effect_unknown for each in retried):
            # A gateway without a route answers 404 too, so the deletion does not count as done.
            means = "An earlier request, whose response was lost, may have deleted it."
            error.set_consequences(means=means, to_do=("Check whether it still exists before you delete it again.",))
        if (
            self.retry_safety is RetrySafety.SAFE
            or not error.effect_unknown
            or isinstance(error, MosaicAmbiguousOutcomeError)
        ):
            return error
        return MosaicAmbiguousOutcomeError(
            f"The outcome of a request is unknown: {self.description}.",
            means=f"It may have been done, and paid or published, so it was not sent again. Last error: {error}",
            status=error.status,
            method=self.method,
            path=self.path,
            detail=error.detail,
            candidates=error.candidates,
            accepted=error.accepted,
        )


class InvalidResponse(Exception):  # noqa: N818 - it never leaves this layer
    """A decoded response lacks what is needed, or has another type."""


def invalid_field(error: Exception) -> str:
    """Return what is wrong with a decoded body, naming the field."""
    if isinstance(error, InvalidResponse):
        return str(error)
    if not isinstance(error, ValidationError):
        return f"a value in it can't be parsed ({type(error).__name__})"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # The place may contain keys that the server chose.
    place = label(".".join(str(part) for part in first["loc"])) or "the body"
    return f"the field '{place}' is missing" if first["type"] == "missing" else f"'{place}' is wrong: {first['msg']}"
