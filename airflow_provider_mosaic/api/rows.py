"""
Rows: items of lists whose fields are mostly not documented, and how those lists are paged
(https://docs.mosaic.so/api/observability/overview).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import AliasChoices, Field

from airflow_provider_mosaic.api.arguments import optional_moment
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, UnreadableAnswer
from airflow_provider_mosaic.api.models import Model, Words, object_in
from airflow_provider_mosaic.api.paging import Listing, Page, paged, read_page

R = TypeVar("R", bound="Row")

#: The most that the lists under ``/automations`` give a page.
_AUTOMATIONS_LIMIT = 500


class Row(Model):
    """One item of a list whose fields are mostly not documented; they are there as they came, by ``model_extra``."""

    id: Words = Field(default=None, validation_alias=AliasChoices("id", "run_id", "task_id"))
    status: Words = None

    def as_row(self) -> dict[str, Any]:
        """All fields, for a warehouse."""
        return self.model_dump(mode="json", exclude_none=True)


def by_cursor(
    what: str,
    path: str,
    model: type[R],
    *,
    ids: Mapping[str, str] | None = None,
    query: Mapping[str, str | None] | None = None,
) -> Listing[R]:
    """
    A list of rows that is paged by a cursor.

    :param what: What reading it does, as it follows "could not".
    :param path: Path template.
    :param model: What an item is.
    :param ids: Values of the template's placeholders.
    :param query: Its filters.
    """
    return paged(what, path, ids=ids, query=query, read=rows_reader(model, path), key=_key)


def by_offset(what: str, path: str, model: type[R], *, query: Mapping[str, str | None]) -> Listing[R]:
    """A list that is paged by offset, which is our cursor; the parameters are those of :func:`by_cursor`."""
    read = rows_reader(model, path)

    def page(cursor: str | None) -> Call[Page[R]]:
        offset = int(cursor or 0)

        def read_offset(data: Any) -> Page[R]:
            items = read(data).items
            # Only an empty page is the end: a server that gives fewer than it was asked for has more all the same.
            return Page(items, str(offset + len(items)) if items else None)

        return Call(
            what=what,
            method="GET",
            path=path,
            query={"limit": _AUTOMATIONS_LIMIT, "offset": offset or None, **query},
            read=read_offset,
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key=_key)


def rows_reader(model: type[R], path: str) -> Callable[[Any], Page[R]]:
    """
    A reader of a page whose list stands under a name that is not documented: the one that the path ends with, or
    ``items``, or whatever name the only list has.

    :param model: What an item is.
    :param path: Path template.
    """
    likely = (path.rpartition("/")[2].replace("-", "_"), "items")

    def read(data: Any) -> Page[R]:
        answer = {"items": data} if isinstance(data, list) else object_in(data)
        lists = [name for name, value in answer.items() if isinstance(value, list)]
        named = next((name for name in likely if name in lists), None)
        if named is None and len(lists) != 1:
            raise UnreadableAnswer(f"it has {len(lists)} lists where one was expected")
        return read_page(named or lists[0], model.model_validate)(answer)

    return read


def times(
    created_from: datetime | str | None,
    created_to: datetime | str | None,
    updated_from: datetime | str | None = None,
) -> dict[str, str | None]:
    """
    The filters by time that all these lists have, as they are sent.

    :param created_from: Created since.
    :param created_to: Created until.
    :param updated_from: Changed since.
    """
    return {
        "from": optional_moment("created_from", created_from),
        "to": optional_moment("created_to", created_to),
        "updated_from": optional_moment("updated_from", updated_from),
    }


def _key(row: Row) -> str:
    return row.id if row.id else repr(sorted(row.as_row().items(), key=str))
