"""
How an answer becomes a model: lenient where the API is young, strict where we depend on it.

A null counts as absent, so that a field's default holds; unknown fields are kept; unknown words of an enumeration are
kept as text; a time that can't be read is None; what is only told to people may have any shape. What a caller can't do
without has no default, and its absence is a typed error that names the field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar, TypeVar

import pendulum
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from typing_extensions import Self

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.call import InvalidResponse
from airflow_provider_mosaic.api.decoding import REPLACEMENT
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.redaction import MASK, holds_known_secret, label, one_line, redact

T = TypeVar("T")

#: Characters of the longest time and status.
_LONGEST_TIME, _LONGEST_STATUS = 64, 100


class Model(BaseModel):
    """
    The base of all models: frozen, unknown fields kept.

    A representation shows the documented fields, and of a link only its host: nobody knows what the others hold.
    """

    model_config = ConfigDict(
        frozen=True, extra="allow", coerce_numbers_to_str=True, hide_input_in_errors=True, serialize_by_alias=False
    )

    #: What a ``status`` means, by its words in lower case: the documented one for each of its spellings.
    documented_statuses: ClassVar[Mapping[str, str]] = {}
    #: Fields on which nothing turns: one that can't be read counts as absent, for no wait may fail by it.
    lenient_fields: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="wrap")
    @classmethod
    def _unreadable_is_absent(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):
                raise
            wrong = {place["loc"][0] for place in error.errors(include_url=False, include_input=False) if place["loc"]}
            if not wrong <= cls.lenient_fields:
                raise
            return handler({name: value for name, value in data.items() if name not in wrong})

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
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


def _with_documented_status(data: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Write a known status in the documented way, and keep how it was reported."""
    for name in ("status", "processing_status"):
        reported = data.get(name)
        if isinstance(reported, str) and words.get(reported) != reported:
            documented = words.get(status_key(reported))
            if documented is not None:
                return {**data, name: documented, "reported_status": reported}
    return data


def status_key(text: str) -> str:
    """
    Return a status in lower case with underscores between its words: ``Timed-Out`` and ``TimedOut`` as ``timed_out``.

    :param text: The status.
    """
    if len(text) > _LONGEST_STATUS:
        return text
    return re.sub(r"[\s_\-]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)).lower()


def status_words(**spellings: str) -> dict[str, str]:
    """
    Return the documented status for each of its spellings.

    :param spellings: For each documented status its other spellings, in lower case and separated by spaces.
    """
    return {word: status for status, others in spellings.items() for word in (status, *others.split())}


def _shown(value: Any) -> Any:
    """A field's value without paths of links, and without objects, whose fields nobody documents."""
    if isinstance(value, str):
        return _LINK_TARGET.sub(rf"\g<host>/{MASK}", value)
    if isinstance(value, Mapping):
        return MASK if value else value
    return tuple(map(_shown, value)) if isinstance(value, (list, tuple)) else value


_LINK_TARGET = re.compile(r"(?P<host>\bhttps?://[^\s/?#\"'<>]*)/[^\s\"'<>]+", re.IGNORECASE)


def parse_time(value: object) -> datetime | None:
    """
    A timestamp of the API in UTC, or None when it is none: with or without fractions, ``Z`` or an offset.

    :param value: ISO 8601 text, a datetime, or the seconds, milliseconds or microseconds since the epoch.
    """
    number = value.strip() if isinstance(value, str) else None
    if number and _EPOCH.fullmatch(number):
        return _since_epoch(float(number))
    if number and number.isdecimal() and len(number) not in _DIGITS_OF_DATES:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _since_epoch(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_TIME:
        try:
            parsed = pendulum.parse(value, strict=False)
        except (ValueError, TypeError, OverflowError):
            return None
        value = parsed
    if not isinstance(value, datetime):
        return None
    try:
        return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (OverflowError, ValueError):
        # ValueError: an offset of a day or more, which pendulum takes.
        return None


#: As many digits as dates have that are written without separators, such as 20260901120000, are none of these.
_EPOCH = re.compile(r"(?:[0-9]{10}|[0-9]{13}|[0-9]{16})(?:\.[0-9]{1,9})?")

_DIGITS_OF_DATES = (8, 12, 14)


def _since_epoch(number: float) -> datetime | None:
    """The time that a number means by its size, from 1973 on; small ones are no times."""
    for unit in (1, 1_000, 1_000_000):
        if 1e8 * unit <= number < 1e10 * unit:
            return datetime.fromtimestamp(number / unit, timezone.utc)
    return None


def _integer(value: object) -> int:
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 2**53 else 0


def _flag(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None if value is None else str(value)


_WORD = re.compile(r"(?!mk_|whsk_)[a-z]{1,30}(?:_[a-z]{1,30})?")


def _clean_status(text: str) -> str:
    # A triggerer reads thousands of them, and nearly all are plain words.
    return label(text) if _WORD.fullmatch(text) else one_line(text, longest=_LONGEST_STATUS - 1)


def _id(value: str) -> str:
    try:
        if REPLACEMENT not in value and not holds_known_secret(value):
            return validate_id("id", value)
    except MosaicValidationError:
        pass
    raise ValueError("an id is one segment of a path, without spaces or control characters")


#: An id that can be an argument later. A request with another one would be refused, when it is paid already.
Id = Annotated[str, AfterValidator(_id)]
#: The same where the API may give none.
IdOrEmpty = Annotated[str, AfterValidator(lambda value: value and _id(value))]
#: A point in time in UTC, None when absent or not readable.
Time = Annotated[datetime | None, BeforeValidator(parse_time)]
#: A count that is 0 when it is no number.
Count = Annotated[int, BeforeValidator(_integer)]
#: A switch that is off unless it is plainly on.
Flag = Annotated[bool, BeforeValidator(_flag)]
#: A sequence that is left at its first wrong item: an error for each of half a million holds an event loop for seconds.
Many = Annotated[tuple[T, ...], FailFast()]
#: An id, or a name of a few words, as it may stand in any text: short, on one line, without control characters.
Label = Annotated[str, AfterValidator(label)]
#: A status, which should be a word, cleaned like any text of the server's.
Status = Annotated[str, AfterValidator(_clean_status)]
#: Words for people, of whatever shape they come.
Words = Annotated[str | None, BeforeValidator(_text)]


def object_in(data: Any) -> dict[str, Any]:
    """
    The object that an answer must be.

    :raises InvalidResponse: It is something else.
    """
    if not isinstance(data, Mapping):
        raise InvalidResponse(f"it is a {type(data).__name__} where an object was expected")
    return dict(data)


def list_in(data: Any, key: str) -> list[dict[str, Any]]:
    """
    The objects under ``key``; a null there is no object at all, a missing key is an error.

    :raises InvalidResponse: There is no list.
    """
    answer = object_in(data)
    if key not in answer:
        raise InvalidResponse(f"the field '{key}' is missing")
    items = answer[key]
    if items is None:
        return []
    if not isinstance(items, list):
        raise InvalidResponse(f"'{key}' is a {type(items).__name__} where a list was expected")
    return [object_in(item) for item in items if item is not None]


def id_in(data: Any, *keys: str) -> str:
    """
    Return the id that :func:`text_in` finds.

    :raises InvalidResponse: There is none, or it can't be an id.
    """
    text = text_in(data, *keys)
    try:
        return _id(text)
    except ValueError as error:
        raise InvalidResponse(f"'{keys[0]}' is wrong: {error}") from None


def text_in(data: Any, *keys: str) -> str:
    """
    The first of some fields that holds a text, or a number in the place of one.

    :raises InvalidResponse: None does; the first one's name is said.
    """
    answer = object_in(data)
    for key in keys:
        value = answer.get(key)
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if isinstance(text, str) and text.strip():
            return text
    raise InvalidResponse(f"the field '{keys[0]}' is missing")
