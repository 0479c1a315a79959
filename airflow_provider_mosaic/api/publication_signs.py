"""
Find signs in undocumented fields that a failed post is published anyway.

Mosaic does not document how a destination shows its result. The address, the id and the state there may have any name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from airflow_provider_mosaic.api.models import status_key

#: Characters of the path of a field that are read, from its end.
_MAX_PATH_LENGTH = 200
#: Fields about something else: accounts, pictures, the approval, options of the request, errors and help with them.
_UNRELATED = re.compile(
    r"profile|thumb|image|picture|avatar|media|connect|approv|option|error|resolution|docs_|help|support|callback",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\s*https?://\S+\s*", re.IGNORECASE)
#: The post's own texts, of which one may be a link.
_TEXT = re.compile(r"_(?:post|text|title|description|message)", re.IGNORECASE)
_STATE = re.compile(r"(?!.*(?:analytic|account|privacy))(?:.*_)?(?:state|status)", re.IGNORECASE | re.DOTALL)
_POST_ID = re.compile(r"(?:^|_)posts?_(?:.*_)?ids?(?:_|$)", re.IGNORECASE | re.DOTALL)


def has_address_or_state(fields: Mapping[str, Any] | None, failures: Collection[str]) -> bool:
    """
    Return whether fields have a web address, or a state that is no failure.

    :param failures: The failures, in snake case.
    """
    return any(
        (_ADDRESS.fullmatch(value) and not _TEXT.fullmatch(path))
        or (value and _STATE.fullmatch(path) and status_key(value) not in failures)
        for path, value in _values(fields)
        if isinstance(value, str)
    )


def has_post_id(fields: Mapping[str, Any] | None, own_id: str) -> bool:
    """Return whether fields have the id of a post, other than its own in Mosaic."""
    return any(value and str(value) != own_id and _POST_ID.search(path) for path, value in _values(fields))


def _values(fields: Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    """Return the values in all objects and lists, each with its path in snake case. JSON limits their number."""
    left: list[tuple[str, Any]] = [("", fields or {})]
    while left:
        path, value = left.pop()
        if isinstance(value, Mapping):
            left += [(f"{path}_{status_key(str(name))}"[-_MAX_PATH_LENGTH:], each) for name, each in value.items()]
        elif isinstance(value, (list, tuple)):
            left += [(path, each) for each in value]
        elif not _UNRELATED.search(path):
            yield path, value
