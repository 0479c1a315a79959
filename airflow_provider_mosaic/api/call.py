"""
A :class:`Call`: one endpoint, with its arguments filled in, waiting to be sent.

Everything that is about the API is in it: where it goes, what it carries, how its answer is read, how long to wait for
it, and what sending it twice would do. The transports only carry bytes.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.decoding import decode_json
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicError,
    MosaicResponseError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.redaction import label, redact
from airflow_provider_mosaic.api.refusals import denial_in, texts_in
from airflow_provider_mosaic.api.responses import Response, describe_body, error_for, refusal_error

T = TypeVar("T")

#: The body of a request or an answer, as :mod:`json` knows it.
Json = Any

#: The most that an answer holds, unless the call says more.
_MAX_BYTES = 1024 * 1024
#: The same for pages of a hundred rows, and for a run with thousands of outputs.
MAX_BYTES_OF_MANY = 16 * 1024 * 1024


class RetrySafety(enum.Enum):
    """What sending a call once more would do."""

    #: Nothing that one sending had not done: reads, finalize, cancel.
    SAFE = "safe"
    #: A second run, post or agent, unless the first one surely had no effect.
    HAS_EFFECTS = "has effects"
    #: It moves money: never sent again by itself.
    NEVER = "never"


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """
    One request to the Mosaic API and the way to read its answer.

    :param what: What it does, as it follows "could not", for example ``cancel run 'x'``.
    :param method: HTTP method.
    :param path: Path template, for example ``/agent_run/{run_id}``.
    :param ids: Values of the template's placeholders.
    :param query: Query parameters; those that are None are left out.
    :param body: JSON body; None sends none.
    :param read: Makes a ``T`` of the decoded answer (None when the answer is empty).
    :param decode: Decodes the answer's JSON, where not all of it is needed; it fails as :func:`decode_json` does.
    :param repeat: What sending it once more would do.
    :param patience: Seconds to wait for the answer, where it may take longer than usual; None for the usual time.
    :param max_bytes: Bytes that the answer has at most.
    :param makes: The name of the id of what it makes; empty where it makes nothing.
    :param is_normal: Whether a body that seems to say no is a normal answer to this call.
    """

    description: str
    method: str
    path: str
    read: Callable[[Json], T] = field(repr=False)
    decode: Callable[[bytes], Json] = field(default=decode_json, repr=False)
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    body: Json = field(default=None, repr=False)
    retry_safety: RetrySafety = RetrySafety.SAFE
    patience: float | None = None
    max_bytes: int = _MAX_BYTES
    makes: str = field(default="", repr=False)
    is_normal: Callable[[Json], bool] = field(default=lambda data: False, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.ids.items():
            validate_id(name, value)
        # It holds ids, which come from outside: a key in the place of one is no reason to show it.
        object.__setattr__(self, "description", redact(self.description))

    @property
    def target(self) -> str:
        """
        Path and query as they are sent.

        :raises MosaicValidationError: An argument has characters that no address can hold.
        """
        path = self.path.format_map({name: quote(value, safe="") for name, value in self.ids.items()})
        try:
            query = urlencode({name: value for name, value in self.query.items() if value is not None})
        except UnicodeEncodeError:
            raise MosaicValidationError(
                f"Could not {self.description}: an argument contains half of a surrogate "
                "pair. Nothing was sent. Pass whole characters."
            ) from None
        return f"{path}?{query}" if query else path

    @property
    def content(self) -> bytes | None:
        """The body as it is sent."""
        return None if self.body is None else json.dumps(self.body, allow_nan=False).encode()

    def result(self, answer: Response, secrets: tuple[str, ...] = (), *, why_not_followed: str = "") -> T:
        """
        What the answer means.

        :param answer: The answer of the server.
        :param secrets: Strings that no message may contain.
        :param why_not_followed: What to say of a redirect; empty for one to another host.
        :raises MosaicError: The kind that says what to do about the answer.
        """
        facts: dict[str, Any] = {"method": self.method, "path": self.path}
        if not answer.good:
            raise error_for(answer, what=self.description, secrets=secrets, why_not_followed=why_not_followed, **facts)
        came = f"Could not {self.description}: {self.method} {self.path} answered {answer.status}"
        try:
            data = answer.json(self.decode)
        except ValueError:
            raise MosaicResponseError(
                f"{came} with {describe_body(answer, secrets)}. Check that the connection's host is Mosaic's.",
                status=answer.status,
                transient=True,
                **facts,
            ) from None
        self._raise_if_denied(data, answer, secrets)
        try:
            return self.read(data)
        except (InvalidResponse, ValueError, ArithmeticError, RecursionError) as error:
            # An answer that is empty where it should not be may be whole the next time; a missing field will not come.
            raise MosaicResponseError(
                f"{came}, but {_complaint(error) if data is not None else 'its body is empty'}.",
                status=answer.status,
                transient=data is None,
                **facts,
            ) from None

    def _raise_if_denied(self, data: Json, answer: Response, secrets: tuple[str, ...]) -> None:
        sent = (*self.ids.values(), *texts_in(self.body))
        denial = denial_in(data, method=self.method, path=self.path, makes=self.makes, sent=sent)
        if denial is not None and not self.is_normal(data):
            raise refusal_error(
                denial, answer, what=self.description, method=self.method, path=self.path, secrets=secrets
            )

    def final_error(self, error: MosaicError) -> MosaicError:
        """
        What a final failure of this call means: where an effect is possible and unknown, exactly that.

        :param error: The failure after which the call is not sent again.
        """
        if (
            self.retry_safety is RetrySafety.SAFE
            or not error.effect_unknown
            or isinstance(error, MosaicAmbiguousOutcomeError)
        ):
            return error
        return MosaicAmbiguousOutcomeError(
            f"Whether Mosaic did this is unknown: {self.description}.",
            means=f"It may have been done, and paid or published, so it was not sent again. What came back: {error}",
            status=error.status,
            method=self.method,
            path=self.path,
            detail=error.detail,
            candidates=error.candidates if isinstance(error, MosaicResponseError) else (),
        )


class InvalidResponse(Exception):  # noqa: N818 - it never leaves this layer
    """A reader's complaint about an answer that is JSON but not what it needs."""


def _complaint(error: Exception) -> str:
    if isinstance(error, InvalidResponse):
        return str(error)
    if not isinstance(error, ValidationError):
        return f"a value in it can't be read ({type(error).__name__})"
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # Of an object with names of its own, they are part of the place.
    place = label(".".join(str(part) for part in first["loc"])) or "the answer"
    return f"the field '{place}' is missing" if first["type"] == "missing" else f"'{place}' is wrong: {first['msg']}"
