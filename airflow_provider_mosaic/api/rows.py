"""
Rows: items of lists whose fields are mostly not documented, and how those lists are paged
(https://docs.mosaic.so/api/observability/overview).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from pydantic import model_validator

from airflow_provider_mosaic.api.arguments import optional_moment
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.models import Model, Words, object_in
from airflow_provider_mosaic.api.paging import Listing, Page, paged, read_page

R = TypeVar("R", bound="Row")

#: The most that the lists under ``/automations`` give a page.
_AUTOMATIONS_LIMIT = 500


class Row(Model):
    """
    One item of a list whose fields are mostly not documented; they are there as they came, by ``model_extra``.

    Other ids in it are not its own: many tasks have the same ``run_id``.
    """

    #: The fields that may hold its id, the first one first.
    id_fields: ClassVar[tuple[str, ...]] = ("id",)

    id: Words = None
    status: Words = None

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Keep nulls: a column is there although a row has nothing in it."""
        if not isinstance(data, Mapping):
            return data
        own = next((data[name] for name in cls.id_fields if data.get(name) is not None), None)
        return {**data, "id": own}

    def as_row(self) -> dict[str, Any]:
        """All fields, for a warehouse: ids first, a null as None."""
        return ids_first(self.model_dump(mode="json"))


def ids_first(row: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a row with its ids in front of everything else.

    :param row: The row.
    """
    ids = [name for name in row if name == "id"] + [name for name in row if name.endswith("_id")]
    return {name: row[name] for name in dict.fromkeys([*ids, *row])}


def same_columns(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Return rows that all have the same columns in the same order, ids first; what a row does not have is None.

    :param rows: The rows.
    """
    found = list(rows)
    columns = ids_first(dict.fromkeys(name for row in found for name in row))
    return [{name: row.get(name) for name in columns} for row in found]


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
    return paged(what, path, ids=ids, query=query, read=rows_reader(model, path), key=row_key)


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
            description=what,
            method="GET",
            path=path,
            query={"limit": _AUTOMATIONS_LIMIT, "offset": offset or None, **query},
            read=read_offset,
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key=row_key)


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
            raise InvalidResponse(f"it has {len(lists)} lists where one was expected")
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


def row_key(row: Row) -> str:
    """
    Return what tells a row from the others of its list: its id, or else all of it.

    :param row: The row.
    """
    return row.id if row.id else repr(sorted(row.as_row().items(), key=str))
