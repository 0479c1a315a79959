"""
Find signs in undocumented fields that a failed post is published anyway.

Mosaic does not document how a destination shows its result. The address, the id and the state there may have any name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from airflow_provider_mosaic.api.models import status_key

#: Characters of the path of a field that are read, from its end.
_MAX_PATH_LENGTH = 200
#: Fields about something else: accounts, pictures, the approval, options of the request, errors and help with them.
_UNRELATED = re.compile(
    r"profile|thumb|image|picture|avatar|(?<!social_)media|connect|approv|option|error|resolution|docs_|help|support"
    r"|callback|auth(?!or)|login",
    re.IGNORECASE,
)
#: Fields that hold one result for each place, and words in their paths that would make the results unrelated.
_RESULTS = re.compile(r"_(?:results|destinations|posts|platforms|accounts|connections|profiles)$", re.IGNORECASE)
_HOLDERS = re.compile(r"profile|media|connect|account|error", re.IGNORECASE)
#: Lists of accounts, which may have the states of the accounts instead of results.
_ACCOUNTS = re.compile(r"_(?:accounts|connections|profiles)$", re.IGNORECASE)
#: A field that names the place of a result.
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


def has_sign(
    fields: Mapping[str, Any] | None, *, failures: Collection[str], successes: Collection[str], in_results: bool
) -> bool:
    """
    Return whether fields have a web address, a state that is no failure, or a flag or time of a publication.

    In a list of accounts only a success counts as such a state.

    :param failures: The failures, in snake case.
    :param successes: The good states, in snake case.
    :param in_results: Whether the fields are those of a result at one place.
    """

    def is_good(state: str, results: str) -> bool:
        return state in successes if _ACCOUNTS.search(results) else state not in failures

    return any(
        _is_sign(path, value, is_good=partial(is_good, results=results), is_result=bool(results))
        for path, value, results in _values(fields, results="_results" if in_results else "")
    )


def has_published_result(data: Any, successes: Collection[str], sent: Collection[str]) -> bool:
    """
    Return whether the body of an error reports a published post: by its status, or the result at one place.

    :param successes: The good states, in snake case.
    :param sent: Texts of the request, which the body may repeat.
    """
    return any(
        _is_sign(path, value, is_good=lambda state: state in successes, is_result=bool(results))
        for path, value, results in _values(data)
        if (results or path == "_status") and value not in sent and not _HELP_LINK.search(path)
    )


def has_post_id(fields: Mapping[str, Any] | None, own_id: str) -> bool:
    """Return whether fields have the id of a post, other than its own in Mosaic."""
    return any(value and str(value) != own_id and _POST_ID.search(path) for path, value, _ in _values(fields))


def _is_sign(path: str, value: Any, *, is_good: Callable[[str], bool], is_result: bool) -> bool:
    if isinstance(value, str) and _ADDRESS.fullmatch(value):
        return not _TEXT.fullmatch(path)
    if isinstance(value, str) and _STATE.fullmatch(path):
        state = status_key(value)
        return bool(state) and is_good(state)
    if isinstance(value, (int, float)):
        is_filled = value == 1 or value >= _FIRST_TIME
    else:
        is_filled = isinstance(value, str) and value.strip().lower() not in ("", "0", "false", "no")
    return is_filled and bool(_PUBLISHED.fullmatch(path) or (is_result and _SUCCESS.fullmatch(path)))


def _values(fields: Any, *, results: str = "") -> Iterator[tuple[str, Any, str]]:
    """
    Return the values in all objects and lists. JSON limits their number.

    Each comes with its path in snake case, and with the path of the results it is part of, which is empty outside.
    """
    left: list[tuple[str, Any, str]] = [("", fields or {}, results)]
    while left:
        path, value, results = left.pop()
        if _holds_results(path, value):
            # The name of a list of accounts does not make the results in it unrelated.
            path, results = _HOLDERS.sub("result", path), path or "_results"
        if isinstance(value, Mapping):
            left += [
                (f"{path}_{status_key(str(name))}"[-_MAX_PATH_LENGTH:], each, results) for name, each in value.items()
            ]
        elif isinstance(value, (list, tuple)):
            left += [(path, each, results) for each in value]
        elif not _UNRELATED.search(path):
            yield path, value, results


def _holds_results(path: str, value: Any) -> bool:
    """Return whether a value is a list of objects, or an object of objects, with one result for each place."""
    if not isinstance(value, (Mapping, list, tuple)):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    rows = [each for each in inner if isinstance(each, Mapping)]
    if not rows or _RESULTS.search(path):
        return bool(rows)
    names = (status_key(str(name)) for row in rows for name in row)
    return not isinstance(value, Mapping) and "error" not in path and any(map(_PLACE.fullmatch, names))
