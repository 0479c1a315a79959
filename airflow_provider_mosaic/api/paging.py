"""
Iterate over paginated lists. Each iteration ends and returns no id twice.

A repeated cursor ends a list. Many pages without a new item, too many pages, or pages that take too long, are an error:
the list may hold items that it did not return.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_mosaic.api.arguments import (
    Validator,
    format_time,
    validate_datetime,
    validate_filled_text,
    validate_id,
    validate_list,
    validated_values,
)
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.errors import MosaicError, MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.models import Model, list_in, object_in
from airflow_provider_mosaic.api.refusals import reported_failure

if TYPE_CHECKING:
    from airflow_provider_mosaic.api.retries import RetryPolicy

T = TypeVar("T")
M = TypeVar("M", bound=Model)
log = logging.getLogger(__name__)

#: Documented maximum of items a page.
PAGE_LIMIT = 100
#: Consecutive pages without a new item that are an error. A server that filters while it reads may return a few.
MAX_IDLE_PAGES = 20
#: Pages of the longest list: a million items.
MAX_PAGES = 10_000
#: Seconds for all pages of a list that a caller relies on. The retries of one page may take three minutes.
MAX_SECONDS = 300.0
#: Seconds after which a line is logged.
_SLOW = 60.0
_NEXT_CURSOR_FIELDS = ("next_cursor", "nextCursor")
_CURSOR_FIELDS = (*_NEXT_CURSOR_FIELDS, "cursor")
_MORE_FIELDS = ("has_more", "hasMore")
_TOTAL_FIELDS = ("total", "total_count", "totalCount")
#: Fields of a body that may describe its place in the list.
PAGE_FIELDS = (*_CURSOR_FIELDS, *_MORE_FIELDS, *_TOTAL_FIELDS, "pagination")
#: The objects of a body that may have the fields above: the body, and its "pagination".
_Places = tuple[Mapping[str, Any], ...]
#: Items of any list that is permitted fewer pages: a server may ignore the page limit.
_MIN_ITEM_LIMIT = 100_000
#: Items of a page that are processed before other coroutines run.
_ITEMS_PER_TURN = 20
#: Characters of a key that is kept. An item without an id is its own key, and may be large.
_MAX_KEY_LENGTH = 500
#: Characters. Servers and proxies reject much longer URLs.
_MAX_CURSOR_LENGTH = 8192


def _join_statuses(name: str, value: object) -> str:
    """Return statuses, also undocumented ones, separated by commas."""
    statuses = [value] if isinstance(value, str) else validate_list(name, value)
    return ",".join(validate_filled_text(name, status) for status in statuses)


def _format_filter_time(name: str, value: object) -> str:
    return format_time(validate_datetime(name, value))


def _format_filter_date_or_time(name: str, value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return date.fromisoformat(value.strip()).isoformat()
    return _format_filter_time(name, value)


_IDS = ("agent_id", "batch_id", "production_id", "social_connection_id", "storage_trigger_id", "trigger_id")
_TIMES = ("created_from", "created_to", "since", "updated_from")
#: The validator of each filter. It returns the query parameter.
_FILTERS: dict[str, Validator] = {
    **dict.fromkeys(_IDS, validate_id),
    **dict.fromkeys(_TIMES, _format_filter_time),
    **dict.fromkeys(("end_date", "start_date"), _format_filter_date_or_time),
    **dict.fromkeys(("batch_key", "folder_id", "platform"), validate_filled_text),
    "status": _join_statuses,
}
#: Query parameters with another name than their argument.
_QUERY_NAMES = {"created_from": "from", "created_to": "to"}


def filters(**values: Any) -> dict[str, Any]:
    """Return the query parameters of filters, validated. None values are left out."""
    return {_QUERY_NAMES.get(name, name): value for name, value in validated_values(_FILTERS, **values).items()}


@dataclass(frozen=True)
class Page(Generic[T]):
    """
    One page of a list.

    :param next_cursor: None on the last page.
    :param total: Number of items of the whole list, if a page without any cursor field reports it.
    :param failure: Why items of the page may be missing; empty if the response reports no failure.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None
    total: int | None = None
    failure: str = ""


@dataclass(frozen=True)
class Listing(Generic[T]):
    """
    A whole list, read page by page.

    :param page: Return the call for the page at a cursor; None is the first page.
    :param key: Return the id of an item.
    :param complete: Whether a repeated cursor, a total above the number of items, or a page that reports a failure is
        an error. Otherwise the list ends with the items that were returned.
    :param most_seconds: Seconds that the server may take for all pages together; None for no limit. No page is
        requested after that.
    """

    page: Callable[[str | None], Call[Page[T]]]
    key: Callable[[T], str]
    complete: bool = False
    most_pages: int = MAX_PAGES
    most_seconds: float | None = None

    def in_workspace(self, workspace_id: str) -> Listing[T]:
        """Return the list of one workspace."""
        return replace(self, page=lambda cursor: replace(self.page(cursor), workspace_id=workspace_id))

    def all_or_error(self, *, most_pages: int = MAX_PAGES, most_seconds: float = MAX_SECONDS) -> Listing[T]:
        """Return the same list for a caller that relies on missing items: the iteration reaches the end or fails."""
        return replace(self, complete=True, most_pages=most_pages, most_seconds=most_seconds)


def paged(
    description: str,
    path: str,
    *,
    ids: Mapping[str, str] | None = None,
    query: Mapping[str, str | None] | None = None,
    read: Callable[[Any], Page[T]],
    key: Callable[[T], str],
) -> Listing[T]:
    """Return a list that is paginated by a cursor."""

    def page(cursor: str | None) -> Call[Page[T]]:
        return Call(
            description=description,
            path=path,
            ids=ids or {},
            query={"limit": PAGE_LIMIT, **(query or {}), "cursor": cursor},
            read=read,
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key)


def read_page(
    key: str, read: Callable[[dict[str, Any]], T], *, newest_first: bool = False, by_offset: bool = False
) -> Callable[[Any], Page[T]]:
    """
    Return a function that reads a page.

    :param newest_first: Whether Mosaic documents this order. What a page leaves out is older then, and not missed.
    :param by_offset: Whether the next page has an offset instead of a cursor.
    """

    def reader(data: Any) -> Page[T]:
        items = tuple(read(item) for item in list_in(data, key))
        body = object_in(data)
        # The name is documented for runs and agents, but not for posts.
        inner = body.get("pagination")
        places = (body, inner) if isinstance(inner, Mapping) else (body,)
        # By offset, a page with items needs no cursor to have more.
        cursor = None if by_offset and items else _next_cursor(places)
        has_cursor = newest_first or _has_any(places, _CURSOR_FIELDS)
        return Page(items, cursor, None if has_cursor else _total(places), _failure(body, key))

    return reader


def _next_cursor(places: _Places) -> str | None:
    """Return the cursor of the next page; None on the last page. Raise if more pages follow without a usable cursor."""
    more = [(name, place[name]) for place in places for name in _MORE_FIELDS if isinstance(place.get(name), bool)]
    has_more = next((name for name, value in more if value), None)
    if more and not has_more:
        # Some servers return the id of the last item as the cursor of every page.
        return None
    # Beside a next cursor, even if it is null, "cursor" may be the one that was sent.
    names = _NEXT_CURSOR_FIELDS if _has_any(places, _NEXT_CURSOR_FIELDS) else _CURSOR_FIELDS
    cursor = next((place[name] for place in places for name in names if place.get(name)), None)
    if not cursor:
        if has_more:
            raise InvalidResponse(f"'{has_more}' is true, but there is no 'next_cursor'")
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, (str, int)):
        # To ignore it would hide the items that follow.
        raise InvalidResponse(f"'next_cursor' is a {type(cursor).__name__} where a text was expected")
    if len(str(cursor)) > _MAX_CURSOR_LENGTH:
        raise InvalidResponse(f"'next_cursor' is longer than {_MAX_CURSOR_LENGTH} characters")
    return str(cursor)


def _has_any(places: _Places, names: Iterable[str]) -> bool:
    return any(name in place for place in places for name in names)


def _total(places: _Places) -> int | None:
    """Return the reported number of items of the whole list."""
    totals = (place.get(name) for place in places for name in _TOTAL_FIELDS)
    return next((each for each in totals if isinstance(each, int)), None)


def _failure(body: dict[str, Any], key: str) -> str:
    """
    Return why the list under a key may lack items; empty if nothing suggests that.

    An empty list is documented as ``[]`` (https://docs.mosaic.so/api/agent-runs/get-agent-runs), never as null.
    """
    if body[key] is None:
        return f"'{key}' is null where a list was expected"
    return f"an item of '{key}' is null" if None in body[key] else reported_failure(body)


def read_list(key: str, model: type[M], *, complete: bool = False) -> Callable[[Any], tuple[M, ...]]:
    """
    Return a function that reads a list without documented pagination. A response with more pages is an error.

    :param complete: Whether a response that reports a failure is an error, because a caller would create missing items
        again.
    """
    read = read_page(key, model.model_validate)

    def read_whole(data: Any) -> tuple[M, ...]:
        page = read(data)
        if complete and page.failure:
            raise InvalidResponse(page.failure)
        if page.next_cursor is not None:
            raise InvalidResponse("it has a cursor for more items, and pagination of this list is not documented")
        if page.total is not None and page.total > len(page.items):
            raise InvalidResponse(f"it has {len(page.items)} of {page.total} items, and no cursor for the others")
        return page.items

    return read_whole


class _Iteration(Generic[T]):
    """State of one iteration over a list."""

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self._pages = self._idle_pages = 0
        # The time of the server, not of the caller, who may process each item for hours.
        self._seconds = 0.0
        self._most_items = max(listing.most_pages * PAGE_LIMIT, _MIN_ITEM_LIMIT)
        self._call = listing.page(None)
        self.next_call: Call[Page[T]] | None = self._call

    def new_items(self, page: Page[T], *, seconds: float) -> Iterator[T]:
        """
        Return the items of a page that no earlier page had, then set :attr:`next_call`. Raise if there is no end.

        :param seconds: Seconds until the page was there.
        """
        known = len(self._ids)
        was_slow = self._seconds >= _SLOW
        self._seconds += seconds
        if self._listing.complete and page.failure:
            # A missing item would be created again.
            raise self._call.error(
                MosaicResponseError,
                f"returned a list that may lack items: {page.failure}.",
                means="Nothing was changed.",
                to_do="Retry it later. If that does not help, check the connection's host.",
                effect_unknown=False,
            )
        for item in page.items:
            key = self._listing.key(item)
            if len(key) > _MAX_KEY_LENGTH:
                key = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
            if key not in self._ids:
                if len(self._ids) >= self._most_items:
                    raise self._list_error(f"has more than {len(self._ids):,} items")
                self._ids.add(key)
                yield item
        self._pages += 1
        self._idle_pages = 0 if len(self._ids) > known else self._idle_pages + 1
        if self._listing.complete and page.total is not None and page.total > len(self._ids):
            # Another kind of pagination. A missing item would be created again.
            raise self._list_error(f"has {page.total} items, and no cursor for the others")
        self.next_call = self._next(page.next_cursor)
        if self.next_call is not None and self._seconds >= _SLOW and not was_slow:
            log.info(
                "%s %s is slow: %d items in %.0f s. Reading more pages.",
                self._call.method,
                self._call.path,
                len(self._ids),
                self._seconds,
            )

    def _next(self, cursor: str | None) -> Call[Page[T]] | None:
        if cursor is None:
            return None
        if cursor in self._cursors:
            if self._listing.complete:
                raise self._list_error("repeats a cursor instead of reaching its end")
            log.warning(
                "%s %s repeats a cursor. The list ends with the %d items read so far and may be incomplete.",
                self._call.method,
                self._call.path,
                len(self._ids),
            )
            return None
        if self._idle_pages >= MAX_IDLE_PAGES:
            raise self._list_error(f"gave {self._idle_pages} pages in a row without a new item, and a cursor for more")
        if self._pages >= self._listing.most_pages:
            raise self._list_error(f"has more than {self._pages} pages")
        most_seconds = self._listing.most_seconds
        if most_seconds is not None and self._seconds >= most_seconds:
            problem = f"has more pages after {self._seconds:.0f} s"
            raise self._list_error(problem, MosaicTransportError, to_do="Retry it later.")
        self._cursors.add(cursor)
        return self._listing.page(cursor)

    def _list_error(
        self,
        problem: str,
        kind: type[MosaicError] = MosaicResponseError,
        *,
        to_do: str = "Filter the list; if that does not help, check the connection's host.",
    ) -> MosaicError:
        return self._call.error(
            kind,
            f"{problem}. {len(self._ids)} items were read.",
            means="Nothing was changed.",
            to_do=to_do,
            effect_unknown=False,
        )


def iterate(send: Callable[[Call[Page[T]]], Page[T]], listing: Listing[T]) -> Iterator[T]:
    """Return an iterator of the items of a list. It reads a page when its first item is requested."""
    iteration = _Iteration(listing)
    while iteration.next_call is not None:
        sent_at = time.monotonic()
        page = send(iteration.next_call)
        yield from iteration.new_items(page, seconds=time.monotonic() - sent_at)


async def aiterate(send: Callable[[Call[Page[T]]], Awaitable[Page[T]]], listing: Listing[T]) -> AsyncIterator[T]:
    """Return an asynchronous iterator of the items of a list, as :func:`iterate` does."""
    iteration = _Iteration(listing)
    while iteration.next_call is not None:
        sent_at = time.monotonic()
        page = await send(iteration.next_call)
        for number, item in enumerate(iteration.new_items(page, seconds=time.monotonic() - sent_at)):
            if number % _ITEMS_PER_TURN == _ITEMS_PER_TURN - 1:
                await asyncio.sleep(0)
            yield item


class ApiClient(ABC):
    """Send calls and iterate over lists."""

    @abstractmethod
    def send(self, call: Call[T], *, retries: RetryPolicy | None = None) -> T:
        """Send a call and return its result."""

    @abstractmethod
    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Return an iterator of a list's items that reads one page after another."""
