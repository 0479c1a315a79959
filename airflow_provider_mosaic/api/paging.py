"""Lists that page by themselves: they end when a cursor repeats, and give no id twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, UnreadableAnswer
from airflow_provider_mosaic.api.models import list_in, object_in

T = TypeVar("T")

#: The most that a list gives a page.
PAGE_LIMIT = 100


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
    """

    page: Callable[[str | None], Call[Page[T]]]
    key: Callable[[T], str]


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
            what=what,
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
            raise UnreadableAnswer(f"'next_cursor' is a {type(cursor).__name__} where a text was expected")
        return Page(items, str(cursor) if cursor else None)

    return reader


class _Walk(Generic[T]):
    """What one walk through a list has seen."""

    def __init__(self, listing: Listing[T]) -> None:
        self._listing = listing
        self._cursors: set[str] = set()
        self._ids: set[str] = set()
        self.next_call: Call[Page[T]] | None = listing.page(None)

    def take(self, page: Page[T]) -> Iterator[T]:
        cursor = page.next_cursor
        if cursor is None or cursor in self._cursors:
            self.next_call = None
        else:
            self._cursors.add(cursor)
            self.next_call = self._listing.page(cursor)
        for item in page.items:
            key = self._listing.key(item)
            if key not in self._ids:
                self._ids.add(key)
                yield item


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
