"""
Lists that page by themselves: each ends, and gives no id twice.

A cursor that repeats ends a list. A list that only hands out new cursors, or more pages than any list has, is an error:
to take it for one that has ended would hide what it does not show.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.errors import MosaicResponseError
from airflow_provider_mosaic.api.models import list_in, object_in

T = TypeVar("T")
log = logging.getLogger(__name__)

#: The most that a list gives a page.
PAGE_LIMIT = 100
#: Consecutive pages without a new item after which a list is an error. A server that filters as it reads may give some.
MOST_IDLE_PAGES = 20
#: Pages of the longest list: a million items.
MOST_PAGES = 10_000
#: Characters of the longest cursor. Addresses much longer than that are refused on the way.
_LONGEST_CURSOR = 8192


@dataclass(frozen=True)
class Page(Generic[T]):
    """
    One page of a list.

    :param items: What it holds.
    :param next_cursor: Where the next one begins; None after the last.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None


@dataclass(frozen=True)
class Listing(Generic[T]):
    """
    A whole list.

    :param page: The call for the page that begins at a cursor (None: the first).
    :param key: The id of an item.
    :param complete: Whether a repeated cursor is an error too. Otherwise it ends the list.
    :param most_pages: More pages than that are an error.
    """

    page: Callable[[str | None], Call[Page[T]]]
    key: Callable[[T], str]
    complete: bool = False
    most_pages: int = MOST_PAGES

    def all_or_error(self, *, most_pages: int = MOST_PAGES) -> Listing[T]:
        """
        Return the list for a caller that draws conclusions from what is missing: reading it reaches its end, or fails.

        :param most_pages: More pages than that are an error.
        """
        return replace(self, complete=True, most_pages=most_pages)


def paged(
    what: str,
    path: str,
    *,
    ids: Mapping[str, str] | None = None,
    query: Mapping[str, str | None] | None = None,
    read: Callable[[Any], Page[T]],
    key: Callable[[T], str],
) -> Listing[T]:
    """
    A list that is paged by a cursor.

    :param what: What reading it does, as it follows "could not".
    :param path: Path template.
    :param ids: Values of the template's placeholders.
    :param query: Its filters.
    :param read: The reader of a page.
    :param key: The id of an item.
    """

    def page(cursor: str | None) -> Call[Page[T]]:
        return Call(
            description=what,
            method="GET",
            path=path,
            ids=ids or {},
            query={"limit": PAGE_LIMIT, **(query or {}), "cursor": cursor},
            read=read,
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key)


def read_page(key: str, read: Callable[[dict[str, Any]], T]) -> Callable[[Any], Page[T]]:
    """
    A reader of pages.

    :param key: The field that holds the items.
    :param read: The reader of one item.
    """

    def reader(data: Any) -> Page[T]:
        items = tuple(read(item) for item in list_in(data, key))
        answer = object_in(data)
        # The cursor's name is documented for runs and agents; for posts it is not, and "cursor" is possible.
        cursor = answer.get("next_cursor") or answer.get("cursor")
        if cursor and (isinstance(cursor, bool) or not isinstance(cursor, (str, int))):
            # Taken for the end of the list, it would hide what follows.
            raise InvalidResponse(f"'next_cursor' is a {type(cursor).__name__} where a text was expected")
        if cursor and len(str(cursor)) > _LONGEST_CURSOR:
            raise InvalidResponse(f"'next_cursor' is longer than {_LONGEST_CURSOR} characters")
        return Page(items, str(cursor) if cursor else None)

    return reader


class _Walk(Generic[T]):
    """What one walk through a list has seen."""

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self._pages = self._idle_pages = 0
        self._call = listing.page(None)
        self.next_call: Call[Page[T]] | None = self._call

    def take(self, page: Page[T]) -> Iterator[T]:
        """
        Return the items of a page that no earlier page had, then set the next call.

        :raises MosaicResponseError: The list has no end.
        """
        known = len(self._ids)
        for item in page.items:
            key = self._listing.key(item)
            if key not in self._ids:
                self._ids.add(key)
                yield item
        self._pages += 1
        self._idle_pages = 0 if len(self._ids) > known else self._idle_pages + 1
        self.next_call = self._next(page.next_cursor)

    def _next(self, cursor: str | None) -> Call[Page[T]] | None:
        if cursor is None:
            return None
        if cursor in self._cursors:
            if self._listing.complete:
                raise self._endless("repeats a cursor instead of reaching its end")
            log.warning(
                "%s %s repeats a cursor. The list ends with the %d items read so far and may be incomplete.",
                self._call.method,
                self._call.path,
                len(self._ids),
            )
            return None
        if self._idle_pages >= MOST_IDLE_PAGES:
            raise self._endless(f"gave {self._idle_pages} pages in a row without a new item, and a cursor for more")
        if self._pages >= self._listing.most_pages:
            raise self._endless(f"has more than {self._pages} pages")
        self._cursors.add(cursor)
        return self._listing.page(cursor)

    def _endless(self, fault: str) -> MosaicResponseError:
        call = self._call
        return MosaicResponseError(
            f"Could not {call.description}: {call.method} {call.path} {fault}. {len(self._ids)} items were "
            "read; nothing was changed. Narrow the list by a filter, and check the connection's host if it stays so.",
            method=call.method,
            path=call.path,
            effect_unknown=False,
        )


def iterate(send: Callable[[Call[Page[T]]], Page[T]], listing: Listing[T]) -> Iterator[T]:
    """
    Every item of a list, page by page as they are asked for.

    :param send: Sends a call.
    :param listing: The list.
    """
    walk = _Walk(listing)
    while walk.next_call is not None:
        yield from walk.take(send(walk.next_call))


async def aiterate(send: Callable[[Call[Page[T]]], Awaitable[Page[T]]], listing: Listing[T]) -> AsyncIterator[T]:
    """Like :func:`iterate`, for a ``send`` that is awaited."""
    walk = _Walk(listing)
    while walk.next_call is not None:
        for item in walk.take(await send(walk.next_call)):
            yield item
