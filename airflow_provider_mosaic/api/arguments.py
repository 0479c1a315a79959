"""
Arguments, checked before anything is sent: each complaint names the argument, the value (never a secret), and the cure.

Airflow renders templates to text, so a list may arrive as ``"['a', 'b']"`` and a mapped task's results as a lazy
sequence; both are read as the lists they mean.

Operators validate their constants with this module while a DAG file is parsed, so it loads nothing heavy until
something is wrong.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import urlsplit

#: Characters of the longest id. Those in Mosaic's documentation have at most 40; links in the place of one are longer.
_LONGEST_ID = 500
# What ends an id within a path, for Mosaic or for a proxy before it that decodes the path once more.
_ENDS_AN_ID = frozenset("/\\?#%")
#: Seconds. Python and Airflow can't add much more to a date, and would fail after a run was started.
_LONGEST_DURATION = 100 * 365 * 86400.0
#: How alike two words are, from 0 to 1, for one to be suggested in the place of the other.
_ALIKE = 0.6


def raise_invalid(
    name: str, value: object, why: str, *, items: Iterable[str] = (), to_do: str | Sequence[str] = ()
) -> NoReturn:
    """
    Refuse an argument.

    :param name: The argument.
    :param value: What was given; links in it are shown without their query.
    :param why: What is wrong and what to do, as it follows the value.
    :param items: What there is to choose from, one line each.
    :param to_do: What else can be done, one choice a text.
    """
    from airflow_provider_mosaic.api.errors import MosaicValidationError
    from airflow_provider_mosaic.api.redaction import redact

    shown = redact(representation(value))
    raise MosaicValidationError(
        redact(f"{name}={shown if len(shown) <= 200 else shown[:200] + '…'}: {why}"),
        items=[redact(f"  {item}") for item in items],
        to_do=to_do,
    )


def not_text(value: object) -> str:
    """
    Return why something is no text, as it follows what it should be, and what to do about it.

    :param value: What was given.
    """
    if value is None:
        return "not None. A task that returns nothing, or is skipped, gives None: look at the task that gives this."
    return (
        f"not {type(value).__name__}. If the DAG has render_template_as_native_obj=True, text that looks like a Python "
        "value becomes one: write {{ ... | tojson }} in the template, which keeps the text."
    )


def representation(value: object) -> str:
    """
    Return the ``repr`` of a value, or its type where Python has none: very large ints, very deep structures.

    :param value: The value.
    """
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"


def validate_id(name: str, value: object, *, or_link: bool = False) -> str:
    """
    Return an id that stays one segment of a path, without an escape.

    :param name: The argument's name.
    :param value: The id, as :func:`validate_name` wants it, without ``/``, a backslash, ``?``, ``#`` and ``%``.
    :param or_link: Whether the API takes a link in its place, as it does for a YouTube channel.
    :raises MosaicValidationError: It is not.
    """
    text = validate_name(name, value, or_link=or_link)
    if or_link and "://" in text:
        return validate_url(name, text)
    if not or_link and not _ENDS_AN_ID.isdisjoint(text):
        raise_invalid(
            name, value, "an id has no / \\ ? # % in it. Nothing was sent. Give the id alone, as Mosaic returned it."
        )
    return text


def validate_name(name: str, value: object, *, or_link: bool = False) -> str:
    """
    Return an id or a name that is sent in no path, such as that of a connection.

    :param name: The argument's name.
    :param value: A text with something in it, no spaces, and no template that was not rendered.
    :param or_link: Whether it may be a link.
    :raises MosaicValidationError: It is not.
    """
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be an id as text, {not_text(value)}")
    if not value.strip() or value.strip().lower() in ("none", "null"):
        raise_invalid(name, value, "it must be an id. If it is templated, the task that should give it gave nothing.")
    if "{{" in value or "{%" in value:
        raise_invalid(name, value, "this template was not rendered.")
    if "://" in value and not or_link:
        raise_invalid(name, value, "it must be an id, not a link: the id is mostly the last part of the address.")
    if not value.isprintable() or " " in value or value in (".", ".."):
        raise_invalid(name, value, "an id has no spaces and no control characters in it.")
    if len(value) > _LONGEST_ID:
        raise_invalid(name, value, f"it has {len(value):,} characters; an id has at most {_LONGEST_ID}.")
    return value


def optional_id(name: str, value: object) -> str | None:
    """An id as :func:`validate_id` wants it, or None."""
    return None if value is None else validate_id(name, value)


def optional_text(name: str, value: object) -> str | None:
    """
    A text with something in it, or None.

    :raises MosaicValidationError: It is neither.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be text, {not_text(value)}")
    if not value.strip():
        raise_invalid(name, value, "it must be text with something in it; leave it out for none.")
    return value


def joined_statuses(value: object) -> str | None:
    """
    Statuses as a list's filter takes them, separated by commas; any word may be one.

    :param value: One text, or several.
    :raises MosaicValidationError: One is no text.
    """
    if value is None:
        return None
    words = [value] if isinstance(value, str) else validate_list("status", value)
    return ",".join(optional_text("status", word) or "" for word in words)


def validate_list(name: str, value: object) -> list[Any]:
    """
    A list with something in it, also from text that a template rendered to, and from any sequence or set.

    A set has another order in each process, and a retry knows its request again by its items in their order: they are
    sorted.

    :param name: The argument's name.
    :param value: A list, a text that is a JSON or Python list, or a single text.
    :raises MosaicValidationError: It is empty or no list.
    """
    if isinstance(value, str):
        value = _literal(value) if value.strip().startswith("[") else [value]
        if isinstance(value, str):
            raise_invalid(name, value, "it begins like a list but can't be read as one: write it as JSON.")
    if isinstance(value, (Mapping, bytes)) or not isinstance(value, Iterable):
        raise_invalid(name, value, f"it must be a list, not {type(value).__name__}.")
    items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else list(value)
    if not items:
        raise_invalid(name, items, "it is empty. Leave it out, or look at the task that should have filled it.")
    return items


def validate_ids(name: str, value: object) -> list[str]:
    """A list of ids, each checked by :func:`validate_id`."""
    return [validate_id(f"{name}[{i}]", item) for i, item in enumerate(validate_list(name, value))]


def validate_urls(name: str, value: object) -> list[str]:
    """A list of HTTP(S) URLs, each checked by :func:`validate_url`."""
    return [validate_url(f"{name}[{i}]", item) for i, item in enumerate(validate_list(name, value))]


def validate_url(name: str, value: object, *, secure: bool = False) -> str:
    """
    An absolute HTTP(S) URL.

    :param name: The argument's name.
    :param value: The URL.
    :param secure: Whether plain ``http`` is refused unless the host is this machine.
    :raises MosaicValidationError: It is not one.
    """
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be a URL as text, {not_text(value)}")
    # Also what is no URL may have been meant as a signed one.
    shown = re.sub(r"[?#].*", "?***", value, flags=re.DOTALL)
    try:
        parts = urlsplit(value)
        host = parts.hostname
        parts.port  # noqa: B018 - raises ValueError for a port that is none
    except ValueError:
        raise_invalid(name, shown, "it is not a URL.")
    if parts.scheme.lower() not in ("http", "https") or not host or not value.isprintable() or " " in value:
        raise_invalid(name, shown, "it must be a full URL that begins with https:// or http://.")
    # Some libraries take it for a slash: "http://evil\\@localhost" is not this machine for all of them.
    if "\\" in parts.netloc:
        raise_invalid(name, shown, "its host has a backslash in it.")
    if secure and parts.scheme.lower() == "http" and not is_loopback(host):
        raise_invalid(name, shown, "use https://: what is sent there carries the webhook secret.")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def validate_mapping(name: str, value: object) -> dict[str, Any]:
    """
    An object with text keys, also from text that a template rendered to.

    :raises MosaicValidationError: It is not, or it holds what JSON can't.
    """
    if isinstance(value, str) and value.strip().startswith("{"):
        value = _literal(value)
    if not isinstance(value, Mapping):
        raise_invalid(name, value, f"it must be an object (dict), not {type(value).__name__}.")
    for key in value:
        if not isinstance(key, str):
            raise_invalid(name, value, f"its key {key!r} must be text.")
    mapping = dict(value)
    try:
        json.dumps(mapping, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise_invalid(name, value, f"it can't be written as JSON ({error}).")
    return mapping


def validate_datetime(name: str, value: object) -> datetime:
    """
    A point in time with its time zone, in UTC.

    :param value: A datetime, or ISO 8601 text, with a time zone.
    :raises MosaicValidationError: It can't be read, or has no time zone.
    """
    if isinstance(value, str):
        try:
            moment: object = datetime.fromisoformat(value.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            import pendulum

            try:
                # exact=True keeps a bare date or time from becoming midnight, and tz=None its zone from becoming UTC.
                moment = pendulum.parse(value.strip(), exact=True, tz=None)
            except (ValueError, TypeError, OverflowError):
                raise_invalid(name, value, "it is not a time in ISO 8601, such as 2026-09-01T17:00:00Z.")
    else:
        moment = value
    if not isinstance(moment, datetime):
        raise_invalid(name, value, "it must be a date with a time, such as 2026-09-01T17:00:00Z.")
    if moment.tzinfo is None:
        raise_invalid(name, value, "it has no time zone: end it with Z for UTC, or with an offset such as +02:00.")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise_invalid(name, value, "it is at the very end of the calendar.")
    except ValueError:
        raise_invalid(name, value, "its offset from UTC is a day or more.")


def optional_moment(name: str, value: object) -> str | None:
    """A point in time as :func:`validate_datetime` wants it and :func:`stamp` writes it, or None."""
    return None if value is None else stamp(validate_datetime(name, value))


def stamp(moment: datetime) -> str:
    """A point in time as the API writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def validate_seconds(name: str, value: object, *, least: float = 0.0) -> float:
    """
    A duration in seconds.

    :param value: A number of seconds or a timedelta.
    :param least: The smallest duration that makes sense.
    :raises MosaicValidationError: It is not a duration, or too short.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    # An int may be larger than any float, which math.isfinite does not take.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise_invalid(name, value, "it must be a number of seconds or a timedelta.")
    if seconds <= least and not (least and seconds == least):
        raise_invalid(
            name, value, f"it must be more than {least:g} seconds." if not least else f"it must be at least {least:g}."
        )
    if seconds > _LONGEST_DURATION:
        raise_invalid(name, value, "it must be a number of seconds or a timedelta, of 100 years at most.")
    return float(seconds)


def validate_flag(name: str, value: object) -> bool:
    """
    A switch.

    :raises MosaicValidationError: It is no bool; the text ``"False"`` would switch it on.
    """
    if not isinstance(value, bool):
        raise_invalid(name, value, "it must be True or False.")
    return value


def validate_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """
    One of some words.

    :raises MosaicValidationError: It is none of them.
    """
    words = tuple(choices)
    if not isinstance(value, str) or value not in words:
        raise_invalid(name, value, f"it must be one of {', '.join(words)}.{suggestion(value, words)}")
    return value


def suggestion(value: object, choices: Iterable[str], *, alike: float = _ALIKE) -> str:
    """
    Return a sentence with the choice that was probably meant, with a space in front; nothing if none is alike.

    :param value: What was given.
    :param choices: What would have been right.
    :param alike: How alike they must be, from 0 to 1.
    """
    import difflib

    word = value.strip().lower()[:100] if isinstance(value, str) else ""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=alike)
    return f" Did you mean {close[0]!r}?" if close else ""


def validate_credits(name: str, value: object) -> float:
    """
    A number of credits, also from text that a template rendered to.

    :param name: The argument's name.
    :param value: The number.
    :raises MosaicValidationError: It is none, or below zero.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise_invalid(name, value, "it must be a number of credits, not below zero.")
    return number


def validate_text(name: str, value: object) -> str:
    """
    Return a text, which may be empty.

    :raises MosaicValidationError: It is no text.
    """
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be text, {not_text(value)}")
    return value


def validate_path(name: str, value: object) -> str:
    """
    Return a local path, or a URI, as text.

    :param name: The argument's name.
    :param value: Text, or a path object.
    :raises MosaicValidationError: It is neither, it is empty, or its storages are chained.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise_invalid(name, value, f"it must be a path or a URI as text, {not_text(value)}")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or text.strip().lower() == "none":
        raise_invalid(name, value, "it is empty. If it is templated, the task that should give it gave nothing.")
    if "\0" in text:
        raise_invalid(name, text, "it has a NUL character in it, which no path has.")
    if "://" in text and "::" in text and uri_scheme(text) not in ("http", "https"):
        # Airflow's storage would read the first of a chain's parts alone.
        raise_invalid(name, text, "storages can't be chained with '::'. Unpack the file, and give its own path or URI.")
    return text


def uri_scheme(text: str) -> str:
    """Return the scheme of a URI in lower case; nothing for a path."""
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator and scheme.replace("+", "").isalnum() else ""


def _literal(text: str) -> object:
    """What a template rendered to: JSON, or Python's own writing of a list or dict; the text itself if neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
