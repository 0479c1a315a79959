"""
Validate arguments before a request is sent. An error names the argument, its value without secrets, and the fix.

Templates render to text, so a list may arrive as ``"['a', 'b']"`` and the results of a mapped task as a lazy sequence.
Both are accepted as lists.

Operators validate their constants with this module while Airflow parses a DAG file, so it imports nothing heavy until
an argument is invalid.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, NoReturn, get_args
from unicodedata import normalize
from urllib.parse import SplitResult, urlsplit

#: Takes the name and the value of an argument. Returns the value as the API takes it, or raises MosaicValidationError.
Validator = Callable[[str, Any], Any]

#: Characters. Ids in Mosaic's documentation have at most 40.
_MAX_ID_LENGTH = 500
#: Characters. Signed links have a few thousand at most, and web servers reject request lines of this length.
MAX_URL_LENGTH = 16 * 1024
#: Characters of the name of a host (RFC 1035).
_MAX_HOST_LENGTH = 253
#: Characters that would end an id in a path, for Mosaic or for a proxy that decodes the path once more.
_NOT_IN_IDS = frozenset("/\\?#%")
_UUID_DIGITS = re.compile("[0-9a-f]{32}")
#: Seconds. Python can't add much more to a date, and would fail after a run was started.
_MAX_DURATION = 100 * 365 * 86400.0


def raise_invalid(
    name: str, value: object, why: str, *, rows: Iterable[str] = (), to_do: str | Sequence[str] = ()
) -> NoReturn:
    """
    Raise a :class:`MosaicValidationError` for an argument.

    :param value: The invalid value. The message shows links in it without their query.
    :param why: Sentences that follow the value: what is wrong, and what to do.
    """
    from airflow_provider_mosaic.api.errors import MosaicValidationError
    from airflow_provider_mosaic.api.redaction import MAX_LISTED, more_than_listed, redact

    shown = redact(representation(value), longest=200)
    lines = list(rows)
    raise MosaicValidationError(
        redact(f"{name}={shown}: {why}"),
        rows=[redact(f"  {line}") for line in (*lines[:MAX_LISTED], *more_than_listed(len(lines)))],
        to_do=to_do,
    )


def not_text(value: object) -> str:
    """Return the end of a sentence about a value that should be text: its type, and the fix."""
    if value is None:
        return "not None. An upstream task that was skipped or returned nothing gives None: check that task."
    return (
        f"not {type(value).__name__}. If the DAG has render_template_as_native_obj=True, text that looks like a Python "
        "value becomes one: pass the reference itself instead of a template, such as upstream.output or "
        "dag.param('title'), and constants of expand() by expand_kwargs()."
    )


def representation(value: object) -> str:
    """Return the ``repr`` of a value, or its type if ``repr`` fails: huge integers, deep structures."""
    try:
        return repr(value)
    except (ValueError, RecursionError):
        return f"<{type(value).__name__}>"


# Text: ids, names, URLs, paths


def validate_id(name: str, value: object, *, or_link: bool = False) -> str:
    """Return an id that is one segment of a path without escaping."""
    text = validate_name(name, value, or_link=or_link)
    if or_link and "://" in text:
        return validate_url(name, text)
    # Some servers read a full-width slash as a slash.
    plain = normalize("NFKC", text)
    if not or_link and (not _NOT_IN_IDS.isdisjoint(plain) or plain in (".", "..")):
        raise_invalid(
            name, value, "an id has no / \\ ? # % in it. Nothing was sent. Pass the id as Mosaic returned it."
        )
    return text


def validate_name(name: str, value: object, *, or_link: bool = False) -> str:
    """Return a text without spaces: an id, or a name such as that of a connection. It may not fit into a path."""
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be an id as text, {not_text(value)}")
    if not value.strip() or value.strip().lower() in ("none", "null"):
        raise_invalid(name, value, "it must be an id. If it is templated, the upstream task returned nothing.")
    if "{{" in value or "{%" in value:
        raise_invalid(name, value, "this template was not rendered.")
    if "://" in value and not or_link:
        raise_invalid(name, value, "it must be an id, not a link. The id is usually the last part of the address.")
    if not value.isprintable() or " " in value or value in (".", ".."):
        raise_invalid(name, value, "an id has no spaces and no control characters in it.")
    if len(value) > _MAX_ID_LENGTH:
        raise_invalid(name, value, f"it has {len(value):,} characters; an id has at most {_MAX_ID_LENGTH}.")
    return value


def id_key(id: str) -> str:
    """
    Return a key by which to compare an id that a user wrote with an id that Mosaic returned.

    Case does not count, nor do the hyphens of a UUID: a server may accept another spelling than it returns. Equal keys
    show that an item belongs to a task. They do not rule an item out, since other ids may differ only in case.
    """
    key = id.lower()
    digits = key.replace("-", "")
    return digits if _UUID_DIGITS.fullmatch(digits) else key


def validate_text(name: str, value: object) -> str:
    """Return a text, which may be empty."""
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be text, {not_text(value)}")
    return value


def validate_filled_text(name: str, value: object) -> str:
    """Return a text that is not blank."""
    text = validate_text(name, value)
    if not text.strip():
        raise_invalid(name, value, "it is empty. Leave the argument out instead.")
    return text


def validate_url(name: str, value: object, *, secure: bool = False) -> str:
    """
    Return an absolute HTTP(S) URL.

    :param secure: Whether to reject ``http`` to other machines than this one.
    """
    if not isinstance(value, str):
        raise_invalid(name, value, f"it must be a URL as text, {not_text(value)}")
    # An invalid URL may still hold a signature.
    shown = re.sub(r"[?#].*", "?***", value, flags=re.DOTALL)
    if len(value) > MAX_URL_LENGTH:
        raise_invalid(name, shown, f"it has {len(value):,} characters; a URL has at most {MAX_URL_LENGTH:,}.")
    try:
        parts = split_url(value)
        host = parts.hostname
        parts.port  # noqa: B018 - raises ValueError for an invalid port
    except ValueError:
        raise_invalid(name, shown, "it is not a URL.")
    if parts.scheme.lower() not in ("http", "https") or not host or not value.isprintable() or " " in value:
        raise_invalid(name, shown, "it must be a full URL with https:// or http://.")
    # Some libraries read a backslash as a slash: for them, "http://evil\\@localhost" is not this machine.
    if "\\" in parts.netloc:
        raise_invalid(name, shown, "its host has a backslash in it.")
    if secure and parts.scheme.lower() == "http" and not is_loopback(host):
        raise_invalid(name, shown, "use https://. Each request to it carries the webhook secret.")
    return value


def split_url(url: str) -> SplitResult:
    """Split a URL of any origin. Raise ValueError if it is not a URL, or if it or its host is too long."""
    if len(url) > MAX_URL_LENGTH:
        raise ValueError("the URL is too long")
    # urlsplit normalizes a host that is not ASCII, in the square of its length. All threads and signals wait for that.
    # IDNA takes even longer.
    authority = "".join(re.split("[/?#]", url, maxsplit=3)[2:3])
    if len(authority) > _MAX_HOST_LENGTH and not authority.isascii():
        raise ValueError("the host is too long")
    return urlsplit(url)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def validate_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return a text that is one of the choices."""
    known = tuple(choices)
    if not isinstance(value, str) or value not in known:
        from airflow_provider_mosaic.api.error_collector import suggest

        raise_invalid(name, value, f"it must be one of {', '.join(known)}.{suggest(value, known)}")
    return value


def validate_path(name: str, value: object) -> str:
    """Return a local path or a URI as text. Chained storages (``zip://...::s3://...``) are invalid."""
    if not isinstance(value, (str, os.PathLike)):
        raise_invalid(name, value, f"it must be a path or a URI as text, {not_text(value)}")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or text.strip().lower() in ("none", "null"):
        raise_invalid(name, value, "it is empty. If it is templated, the upstream task returned nothing.")
    if "\0" in text:
        raise_invalid(name, text, "a path can't contain a NUL character.")
    if "://" in text and "::" in text and uri_scheme(text) not in ("http", "https"):
        # Airflow's object storage would read the first part alone.
        raise_invalid(name, text, "storages can't be chained with '::'. Unpack the file, and pass its own path or URI.")
    _validate_place(name, text)
    return text


#: Storages whose URIs start with a bucket or a container.
_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
#: A URI that lost a slash, for example in ``Path("s3://...")``. A single letter is a drive of Windows.
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+]+):/(?!/)")


def _validate_place(name: str, text: str) -> None:
    """Raise for a URI that the storage libraries read as another place, for example below the working directory."""
    scheme = uri_scheme(text)
    place = text.partition("://")[2]
    if one_slash := _ONE_SLASH.match(text):
        raise_invalid(name, text, f"write {one_slash[1]}:// with two slashes. pathlib.Path removes one of them.")
    if scheme in ("file", "local") and not place.startswith("/"):
        raise_invalid(name, text, f"a {scheme} URI has no host: write {scheme}:/// and an absolute path.")
    if scheme and not place.strip("/") and scheme not in ("file", "local", "http", "https"):
        raise_invalid(name, text, f"it names no place in the storage: write {scheme}:// and a bucket or a directory.")
    if scheme in _BUCKETS and place.startswith("/"):
        raise_invalid(name, text, f"it names no bucket: write {scheme}:// and the bucket.")


def uri_scheme(text: str) -> str:
    """Return the scheme of a URI in lower case; an empty text for a path."""
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator and scheme.replace("+", "").isalnum() else ""


# Lists and objects, also from text that a template rendered to


def parse_collection(value: Any) -> Any:
    """Return the list or object that a text is, in JSON or in Python; any other value unchanged."""
    return _literal(value) if isinstance(value, str) and value.lstrip().startswith(("[", "{")) else value


def validate_list(name: str, value: object) -> list[Any]:
    """
    Return a list that is not empty.

    A set is sorted: its order differs between processes, and a retry recognizes its request by the items in their
    order.

    :param value: Any iterable, text that is a JSON or Python list, or a text that is the only item.
    """
    if isinstance(value, str):
        value = _literal(value) if value.strip().startswith("[") else [value]
        if isinstance(value, str):
            raise_invalid(name, value, "it starts like a list but can't be parsed. Write it as JSON.")
    if isinstance(value, (Mapping, bytes)) or not isinstance(value, Iterable):
        raise_invalid(name, value, f"it must be a list, not {type(value).__name__}.")
    items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else list(value)
    if not items:
        raise_invalid(name, items, "it is empty. Leave it out, or check the upstream task that returned it.")
    return items


def validate_mapping(name: str, value: object) -> dict[str, Any]:
    """Return a dict that JSON can represent, also from text that a template rendered to."""
    if isinstance(value, str) and value.strip().startswith("{"):
        value = _literal(value)
    if not isinstance(value, Mapping):
        raise_invalid(name, value, f"it must be an object (dict), not {type(value).__name__}.")
    for key in value:
        if not isinstance(key, str):
            raise_invalid(name, value, f"its key {key!r} must be text.")
    try:
        json.dumps(dict(value), allow_nan=False, default=_as_list)
        return {key: _with_lists(item) for key, item in value.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise_invalid(name, value, f"it can't be written as JSON ({error}).")


def _with_lists(value: Any) -> Any:
    """Return a value with a list for each sequence in it."""
    if isinstance(value, Mapping):
        return {key: _with_lists(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_with_lists(item) for item in value]
    return value


def _as_list(value: object) -> list[Any]:
    """Return a sequence as a list: Airflow passes the outputs of a mapped task as a lazy sequence."""
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _literal(text: str) -> object:
    """Parse a rendered template as JSON or as a Python literal; return the text itself if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text


# Times, numbers, flags


def validate_datetime(name: str, value: object) -> datetime:
    """
    Return a time in UTC.

    :param value: A datetime, or ISO 8601 text, with a time zone.
    """
    if isinstance(value, str):
        try:
            moment: object = datetime.fromisoformat(value.strip().replace("Z", "+00:00").replace("z", "+00:00"))
        except ValueError:
            import pendulum

            try:
                # exact=True returns no datetime for a bare date or time. tz=None assumes no time zone.
                moment = pendulum.parse(value.strip(), exact=True, tz=None)
            except Exception:  # for some texts, an AttributeError
                raise_invalid(name, value, "it is not a time in ISO 8601, such as 2026-09-01T17:00:00Z.")
    else:
        moment = value
    if not isinstance(moment, datetime):
        raise_invalid(name, value, "it must be a date with a time, such as 2026-09-01T17:00:00Z.")
    if moment.tzinfo is None:
        raise_invalid(name, value, "it has no time zone. End it with Z for UTC, or with an offset such as +02:00.")
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise_invalid(name, value, "it is outside of the calendar in UTC.")
    except ValueError:
        raise_invalid(name, value, "its offset from UTC is a day or more.")


def format_time(moment: datetime) -> str:
    """Return a time in the API's format: UTC, whole seconds, ``Z``."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def validate_seconds(name: str, value: object) -> float:
    """
    Return a duration in seconds, more than zero.

    :param value: A number of seconds or a timedelta.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    # math.isfinite fails for an int that is larger than any float.
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
        raise_invalid(name, value, "it must be a number of seconds or a timedelta.")
    if seconds <= 0:
        raise_invalid(name, value, "it must be more than 0 seconds.")
    if seconds > _MAX_DURATION:
        raise_invalid(name, value, "it must be a number of seconds or a timedelta, of 100 years at most.")
    return float(seconds)


def validate_integer(
    name: str, value: object, unit: str = "", *, least: int = 0, most: int | None = None, in_object: bool = False
) -> int:
    """
    Return an integer from ``least`` to ``most``.

    :param in_object: Whether the value is in an object, where a template always renders to text.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= (value if most is None else most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        hint = (
            " A template inside an object renders to text: write the whole argument as {{ ... | tojson }}, or pass the "
            "output of a task."
        )
        more = hint if in_object and isinstance(value, str) else ""
        raise_invalid(name, value, f"it must be a whole number{unit}, {limits}.{more}")
    return value


def whole_number(value: object) -> object:
    """Return a float without a fraction as an integer, and any other value unchanged. ``seconds * 1000`` may be one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def validate_flag(name: str, value: object) -> bool:
    """Return a bool. Any other value is invalid: the text ``"False"`` would be true."""
    if not isinstance(value, bool):
        raise_invalid(name, value, "it must be True or False.")
    return value


def validate_credits(name: str, value: object) -> float:
    """Return a number of credits, also from text that a template rendered to."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise_invalid(name, value, "it must be a number of credits, not below zero.")
    return number


# Validators that combine others


class ListOf:
    """
    The validator of a list. It returns the validated items.

    :param item: The validator of an item. A list in a DAG file may mix constants and templates: its constants are
        validated one by one at parse time.
    :param optional: Whether None is accepted.
    """

    def __init__(self, item: Validator, *, optional: bool = False) -> None:
        self.item = item
        self._optional = optional

    def __call__(self, name: str, value: Any) -> Any:
        """Return the validated items of a list, or of a text or collection that stands for one."""
        if value is None and self._optional:
            return None
        return [self.item(f"{name}[{i}]", item) for i, item in enumerate(validate_list(name, value))]


def one_of(choices: Any) -> Validator:
    """Return the validator of an option with the choices of a ``Literal``."""
    words: tuple[str, ...] = get_args(choices)
    return lambda name, value: validate_choice(name, value, words)


def optional(validator: Validator) -> Validator:
    """Return a validator that accepts None too."""
    if isinstance(validator, ListOf):
        return ListOf(validator.item, optional=True)
    return lambda name, value: None if value is None else validator(name, value)


def validated_values(validators: Mapping[str, Validator], **values: Any) -> dict[str, Any]:
    """Return the values that are not None, validated, by their names."""
    return {name: validators[name](name, value) for name, value in values.items() if value is not None}
