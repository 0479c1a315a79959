"""
Find signs in undocumented fields that a failed post is published anyway.

Mosaic does not document how a destination shows its result. The address, the id and the state there may have any name.
The rules:

1. A list of objects, or an object of objects, holds one *result* for each place if its name says so, or if the objects
   of a list name a platform or an account. What leads to the results does not count as the name of their fields.
2. A sign is a web address, a state that is no failure, or a flag or time of a publication.
3. Fields about something else are no signs: accounts, pictures, the approval, options, errors and help with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_mosaic.api.models import status_key
from airflow_provider_mosaic.api.redaction import label

#: Characters of a path that are read, from its end.
_MAX_PATH_LENGTH = 200
#: Fields about something else, wherever these words are in the path.
_UNRELATED = re.compile(
    r"thumb|image|picture|avatar|approv|option|resolution|docs_|help|support|callback|auth(?!or)|login", re.IGNORECASE
)
#: Words that results may have in the name of their list, for example ``account_results``, but no field of a result.
_OTHER_ITEMS = re.compile(r"profile|(?<!social_)media|connect|error", re.IGNORECASE)
#: Names of what holds results.
_RESULTS = re.compile(r"_(?:results|destinations|posts|platforms|accounts|connections|profiles)$", re.IGNORECASE)
#: Lists of accounts, which may have the states of the accounts instead of results.
_ACCOUNTS = re.compile(r"_(?:accounts|connections|profiles)$", re.IGNORECASE)
#: A field that names a place.
_PLACE = re.compile(r"(?:.*_)?(?:platform|network|account|connection|profile)(?:_id)?", re.IGNORECASE | re.DOTALL)
_ADDRESS = re.compile(r"\s*https?://\S+\s*", re.IGNORECASE)
#: The post's own texts, of which one may be a link.
_TEXT = re.compile(r"_(?:post|text|title|description|message)", re.IGNORECASE)
_ABOUT_POST = r"(?!.*(?:analytic|account|privacy))(?:.*_)?"
_STATE = re.compile(rf"{_ABOUT_POST}(?:state|status)", re.IGNORECASE | re.DOTALL)
#: Flags and times of the publication.
_PUBLISHED = re.compile(
    rf"{_ABOUT_POST}(?<!last_)(?:published|posted)(?:_(?:at|on|date|time))?", re.IGNORECASE | re.DOTALL
)
#: The first number that is a time in seconds since the epoch, and no count.
_FIRST_TIME = 1e9
#: A flag that is about the post only in a list of results.
_SUCCESS = re.compile(rf"{_ABOUT_POST}success(?:ful)?", re.IGNORECASE | re.DOTALL)
_POST_ID = re.compile(r"(?:^|_)posts?_(?:.*_)?ids?(?:_|$)", re.IGNORECASE | re.DOTALL)
#: Links in an error that are no results.
_HELP_LINK = re.compile(
    r"_(?:type|docs?|documentation|info|learn|settings?|billing|upgrade|pricing|plan)(?:_\w*)?$", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class _Field:
    """
    A value in a response.

    :param results: Path of the results that it is part of, in snake case; empty outside.
    :param path: Path in the result, or in the response.
    """

    results: str
    path: str
    value: Any

    @property
    def whole_path(self) -> str:
        """The path in the response."""
        return self.results + self.path


def find_sign(
    fields: Mapping[str, Any] | None, *, failures: Collection[str], successes: Collection[str], in_results: bool
) -> str:
    """
    Return the name of a field with a web address, a state that is no failure, or a flag or time of a publication.

    It is empty if there is none. In a list of accounts only a success counts as such a state.

    :param failures: The failures, in snake case.
    :param successes: The good states, in snake case.
    :param in_results: Whether the fields are those of a result at one place.
    """

    def is_good(field: _Field, state: str) -> bool:
        return state in successes if _ACCOUNTS.search(field.results) else state not in failures

    found = _fields(fields, results="_results" if in_results else "")
    return _first_name(field for field in found if _is_sign(field, is_good))


def has_published_result(data: Any, successes: Collection[str], sent: Collection[str]) -> bool:
    """
    Return whether the body of an error reports a published post: by its status, or the result at one place.

    :param successes: The good states, in snake case.
    :param sent: Texts of the request, which the body may repeat.
    """
    return any(
        _is_sign(field, lambda _, state: state in successes)
        for field in _fields(data)
        if (field.results or field.path == "_status") and field.value not in sent and not _HELP_LINK.search(field.path)
    )


def find_post_id(fields: Mapping[str, Any] | None, own_id: str) -> str:
    """Return the name of a field with the id of a post, other than its own in Mosaic; empty if there is none."""
    return _first_name(
        field
        for field in _fields(fields)
        if field.value and str(field.value) != own_id and _POST_ID.search(field.whole_path)
    )


def _first_name(fields: Iterator[_Field]) -> str:
    return next((label(field.whole_path.strip("_")) for field in fields), "")


def _is_sign(field: _Field, is_good: Callable[[_Field, str], bool]) -> bool:
    path, value = field.path, field.value
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return not _TEXT.fullmatch(field.whole_path)
    if isinstance(value, str) and _STATE.fullmatch(path):
        state = status_key(value)
        return bool(state) and is_good(field, state)
    if isinstance(value, (int, float)):
        is_filled = value == 1 or value >= _FIRST_TIME
    else:
        is_filled = isinstance(value, str) and value.strip().lower() not in ("", "0", "false", "no")
    return is_filled and bool(_PUBLISHED.fullmatch(path) or (field.results and _SUCCESS.fullmatch(path)))


def _fields(data: Any, *, results: str = "") -> Iterator[_Field]:
    """Return the related values in all objects and lists. JSON limits their number."""
    left = [_Field(results=results, path="", value=data or {})]
    while left:
        field = left.pop()
        if _holds_results(field):
            field = replace(field, results=field.whole_path[-_MAX_PATH_LENGTH:] or "_results", path="")
        if isinstance(field.value, Mapping):
            for name, each in field.value.items():
                path = f"{field.path}_{status_key(str(name))}"[-_MAX_PATH_LENGTH:]
                left.append(replace(field, path=path, value=each))
        elif isinstance(field.value, (list, tuple)):
            left += [replace(field, value=each) for each in field.value]
        elif not (_UNRELATED.search(field.whole_path) or _OTHER_ITEMS.search(field.path)):
            yield field


def _holds_results(field: _Field) -> bool:
    """Return whether a field is a list of objects, or an object of objects, with one result for each place."""
    value = field.value
    if not isinstance(value, (Mapping, list, tuple)) or "analytic" in field.path:
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    rows = [each for each in inner if isinstance(each, Mapping)]
    if not rows or _RESULTS.search(field.path):
        return bool(rows)
    names = (status_key(str(name)) for row in rows for name in row)
    return not isinstance(value, Mapping) and "error" not in field.path and any(map(_PLACE.fullmatch, names))
