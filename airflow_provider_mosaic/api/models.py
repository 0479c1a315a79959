"""
Turn a response of the API into a model: lenient where the API is young, strict where the provider depends on it.

- A null counts as absent, so the field's default holds.
- Unknown fields are kept. Unknown values of a status are kept as text.
- A time that can't be parsed is None.
- Text for users may have any shape.
- A field that a caller depends on has no default. If it is missing, the error names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, TypeVar

import pendulum
import pydantic.main
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from typing_extensions import Self

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.call import InvalidResponse
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import MASK, holds_known_secret, label, one_line, redact
from airflow_provider_mosaic.api.responses import REPLACEMENT, explanation

T = TypeVar("T")
M = TypeVar("M", bound="Model")

#: Characters of the longest time and status.
_MAX_TIME_LENGTH, _MAX_STATUS_LENGTH = 64, 100
#: Whether pydantic builds a deferred model under a lock. Without the lock, two threads that use a model first at the
#: same time get an AttributeError (seen with pydantic 2.11 to 2.13).
_BUILDS_WITH_LOCK = hasattr(pydantic.main, "_rebuild_lock")


class Model(BaseModel):
    """
    Base class of all models. Frozen; unknown fields are kept in ``model_extra``.

    ``repr`` and ``str`` show documented fields only, and only the host of a link. Validators of a model are built when
    it is first used, so a task pays only for the models that it needs.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        coerce_numbers_to_str=True,
        # Of texts such as "Infinity". JSON's own constants are None.
        allow_inf_nan=False,
        hide_input_in_errors=True,
        serialize_by_alias=False,
        defer_build=_BUILDS_WITH_LOCK,
    )

    #: Spellings of ``status`` in lower case, each with the documented status.
    documented_statuses: ClassVar[Mapping[str, str]] = {}
    #: Fields that no decision depends on. One that can't be parsed counts as absent, so that no wait fails because of
    #: it.
    lenient_fields: ClassVar[frozenset[str]] = frozenset()

    #: The lenient fields that the response has, and that can't be parsed.
    _unreadable: frozenset[str] = PrivateAttr(frozenset())

    @model_validator(mode="wrap")
    @classmethod
    def _drop_invalid_lenient_fields(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):
                raise
            errors = error.errors(include_url=False, include_input=False)
            invalid = frozenset(str(each["loc"][0]) for each in errors if each["loc"])
            if not invalid <= cls.lenient_fields:
                raise
            model = handler({name: value for name, value in data.items() if name not in invalid})
            # An empty value has nothing that could be read.
            model._unreadable = frozenset(name for name in invalid if data.get(name))
            return model

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        present = {
            name: [item for item in value if item is not None] if isinstance(value, list) else value
            for name, value in data.items()
            if value is not None
        }
        return _with_documented_status(present, cls.documented_statuses) if cls.documented_statuses else present

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            if name in type(self).model_fields:
                yield name, _shown(value)

    def __repr__(self) -> str:
        return redact(super().__repr__())

    def __str__(self) -> str:
        return redact(super().__str__())


def _with_documented_status(data: dict[str, Any], spellings: Mapping[str, str]) -> dict[str, Any]:
    """Replace another spelling of a documented status, and keep it in ``reported_status``."""
    for name in ("status", "processing_status"):
        reported = data.get(name)
        if isinstance(reported, str) and spellings.get(reported) != reported:
            documented = spellings.get(status_key(reported))
            if documented is not None:
                return {**data, name: documented, "reported_status": reported}
    return data


def status_key(text: str) -> str:
    """Return a status in snake case: ``timed_out`` for ``Timed-Out`` and ``TimedOut``."""
    if len(text) > _MAX_STATUS_LENGTH:
        return text
    return re.sub(r"[\s_\-]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)).lower()


def status_words(**spellings: str) -> dict[str, str]:
    """
    Return the documented status for each of its spellings.

    :param spellings: Other spellings of each documented status, in snake case, separated by spaces.
    """
    return {spelling: status for status, others in spellings.items() for spelling in (status, *others.split())}


def _shown(value: Any) -> Any:
    """Return a field's value without paths of links, and without objects, whose fields are not documented."""
    if isinstance(value, str):
        return _LINK_TARGET.sub(rf"\g<host>/{MASK}", value)
    if isinstance(value, Mapping):
        return MASK if value else value
    return tuple(map(_shown, value)) if isinstance(value, (list, tuple)) else value


_LINK_TARGET = re.compile(r"(?P<host>\bhttps?://[^\s/?#\"'<>]*)/[^\s\"'<>]+", re.IGNORECASE)


def parse_time(value: object) -> datetime | None:
    """
    Parse a timestamp of the API. Return it in UTC, or None if it can't be parsed.

    :param value: ISO 8601 text with or without fractions, ``Z`` or an offset; a datetime; or seconds, milliseconds or
        microseconds since the epoch.
    """
    number = value.strip() if isinstance(value, str) else None
    if number and _EPOCH.fullmatch(number):
        return _since_epoch(float(number))
    if number and number.isdecimal() and len(number) not in _DIGITS_OF_DATES:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _since_epoch(value)
    if isinstance(value, str) and 0 < len(value) <= _MAX_TIME_LENGTH:
        try:
            parsed = pendulum.parse(value, strict=False)
        except Exception:
            # Its errors are of many classes: an AttributeError for "P1D/P1D".
            return None
        value = parsed
    if not isinstance(value, datetime):
        return None
    try:
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (OverflowError, ValueError):
        # ValueError: an offset of a day or more, which pendulum accepts.
        return None


#: The lengths exclude dates without separators, such as 20260901120000.
_EPOCH = re.compile(r"(?:[0-9]{10}|[0-9]{13}|[0-9]{16})(?:\.[0-9]{1,9})?")
_DIGITS_OF_DATES = (8, 12, 14)


def _since_epoch(number: float) -> datetime | None:
    """Return the time of a number since the epoch, whose unit follows from its size; None before 1973."""
    for unit in (1, 1_000, 1_000_000):
        if 1e8 * unit <= number < 1e10 * unit:
            return datetime.fromtimestamp(number / unit, timezone.utc)
    return None


#: Python rejects numbers of thousands of digits.
_DIGITS = re.compile(r"[0-9]{1,18}")


def as_count(value: object) -> int:
    """Return a number, which may be written as text, as an integer; 0 for any other value."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 0
    # NaN differs from itself. A float above the limit is not exact.
    return int(value) if value == value and abs(value) < 2**53 else 0


def _flag(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


#: One or two words. An API key or a webhook secret is not plain.
_PLAIN_STATUS = re.compile(r"(?!mk_|whsk_)[a-z]{1,30}(?:_[a-z]{1,30})?")


def _clean_status(text: str) -> str:
    # A triggerer reads thousands of statuses. Nearly all are plain words, which need no masking. The ellipsis of a text
    # that was cut is one character more.
    return label(text) if _PLAIN_STATUS.fullmatch(text) else one_line(text, longest=_MAX_STATUS_LENGTH - 1)


def _id(value: str) -> str:
    try:
        if REPLACEMENT not in value and not holds_known_secret(value):
            return validate_id("id", value)
    except MosaicValidationError:
        pass
    raise ValueError("an id is one segment of a path, without spaces or control characters")


#: An id that is valid as an argument of a later request.
Id = Annotated[str, AfterValidator(_id)]
#: The same, or an empty text.
IdOrEmpty = Annotated[str, AfterValidator(lambda value: value and _id(value))]
#: A time in UTC; None when it is absent or can't be parsed.
Time = Annotated[datetime | None, BeforeValidator(parse_time)]
#: A count; 0 when it is not a number.
Count = Annotated[int, BeforeValidator(as_count)]
#: A boolean; True only for ``true``.
Flag = Annotated[bool, BeforeValidator(_flag)]
#: A sequence. Validation stops at the first invalid item: half a million errors would block an event loop for seconds.
Many = Annotated[tuple[T, ...], FailFast()]
#: An id or a name that is safe in messages: short, on one line, without control characters.
Label = Annotated[str, AfterValidator(label)]
#: A status, safe in messages.
Status = Annotated[str, AfterValidator(_clean_status)]
#: Text for users. Values of other types are converted to text.
Words = Annotated[str | None, BeforeValidator(_text)]
#: An error of any shape, as text.
ErrorText = Annotated[str | None, BeforeValidator(explanation)]


class NodeType(Model):
    """
    A kind of tile, in responses about node types, agents and runs.

    The API documents its parameters only on the page at ``params_docs_url``; ``params`` holds them if a
    response lists them.
    """

    node_type_id: Words = None
    node_type_name: Words = None
    docs_url: Words = None
    params_docs_url: Words = None
    params: dict[str, Any] | None = None

    lenient_fields = frozenset({"params"})

    @field_validator("params", mode="before")
    @classmethod
    def _params_by_name(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {row["name"]: row for row in value if isinstance(row, Mapping) and isinstance(row.get("name"), str)}
        properties = value.get("properties") if isinstance(value, Mapping) else None
        return properties if isinstance(properties, Mapping) else value

    @property
    def param_names(self) -> frozenset[str] | None:
        """Names of the tile's parameters; None if the response does not list them."""
        return frozenset(self.params) if self.params else None


def read_object(model: type[M], *, within: str = "", **known: Any) -> Callable[[Any], M]:
    """
    Return a function that reads a response with one object.

    :param within: The field that may hold the object. Without the field, the whole body is the object.
    :param known: Fields that the request names and the response may lack.
    """

    def read(data: Any) -> M:
        body = object_in(data)
        inner = body.get(within)
        return model.model_validate({**(inner if isinstance(inner, Mapping) else body), **known})

    return read


def object_in(data: Any) -> dict[str, Any]:
    """Return a decoded response as a dict. Raise :class:`InvalidResponse` if it is not an object."""
    if not isinstance(data, Mapping):
        raise InvalidResponse(f"it is a {type(data).__name__} where an object was expected")
    return dict(data)


def list_in(data: Any, key: str) -> list[dict[str, Any]]:
    """Return the objects under ``key``; none for a null. Raise :class:`InvalidResponse` if there is no list."""
    body = object_in(data)
    if key not in body:
        raise InvalidResponse(f"the field '{key}' is missing")
    items = body[key]
    if items is None:
        return []
    if not isinstance(items, list):
        raise InvalidResponse(f"'{key}' is a {type(items).__name__} where a list was expected")
    return [object_in(item) for item in items if item is not None]


def id_in(data: Any, *keys: str) -> str:
    """Return the id in the first of ``keys`` that has one. Raise :class:`InvalidResponse` if there is none."""
    text = text_in(data, *keys)
    try:
        return _id(text)
    except ValueError as error:
        raise InvalidResponse(f"'{keys[0]}' is wrong: {error}") from None


def text_in(data: Any, *keys: str) -> str:
    """Return the first of ``keys`` that holds a text; an integer is converted."""
    body = object_in(data)
    for key in keys:
        value = body.get(key)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and text.strip():
            return text
    raise InvalidResponse(f"the field '{keys[0]}' is missing")
