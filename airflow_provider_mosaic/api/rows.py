"""Lists of rows: items with mostly undocumented fields (https://docs.mosaic.so/api/observability/overview)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import model_validator

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, InvalidResponse
from airflow_provider_mosaic.api.models import Model, Words, object_in
from airflow_provider_mosaic.api.paging import Listing, Page, paged, read_page

R = TypeVar("R", bound="Row")

#: Documented maximum of items a page under ``/automations``.
_AUTOMATIONS_LIMIT = 500


class Row(Model):
    """
    One item of a list with mostly undocumented fields, which ``model_extra`` has unchanged.

    Other ids in it are not its own: many tasks have the same ``run_id``. An ``id`` beside a field that precedes it in
    :attr:`id_fields` is kept as ``reported_id``.
    """

    #: Fields that may hold the id of the row, by precedence.
    id_fields: ClassVar[tuple[str, ...]] = ("id",)

    id: Words = None
    status: Words = None

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """Keep nulls, which other models drop: all rows have the same columns. Set the id."""
        if not isinstance(data, Mapping):
            return data
        names = [name for name in cls.id_fields if name in data]
        own = next((data[name] for name in names if data[name] is not None), None)
        reported = {"reported_id": data["id"]} if "id" in names[1:] else {}
        return {**reported, **data, "id": own}

    def as_row(self) -> dict[str, Any]:
        """Return all fields for a warehouse, ids first."""
        row = self.model_dump(mode="json")
        other_ids = [name for name in row if name.endswith("_id")]
        return {name: row[name] for name in dict.fromkeys(["id", *other_ids, *row])}


def by_cursor(
    description: str,
    path: str,
    model: type[R],
    *,
    ids: Mapping[str, str] | None = None,
    query: Mapping[str, str | None] | None = None,
) -> Listing[R]:
    """Return a list of rows that is paginated by a cursor."""
    return paged(description, path, ids=ids, query=query, read=rows_reader(model, path), key=row_key)


def by_offset(description: str, path: str, model: type[R], *, query: Mapping[str, str | None]) -> Listing[R]:
    """Return a list of rows that is paginated by an offset, which serves as the cursor."""
    read = rows_reader(model, path, by_offset=True)

    def page(cursor: str | None) -> Call[Page[R]]:
        offset = int(cursor or 0)

        def read_offset(data: Any) -> Page[R]:
            items = read(data).items
            # Only an empty page is the last one: a server may return fewer items than requested and have more.
            return Page(items, str(offset + len(items)) if items else None)

        return Call(
            description=description,
            path=path,
            query={"limit": _AUTOMATIONS_LIMIT, "offset": offset or None, **query},
            read=read_offset,
            max_bytes=MAX_BYTES_OF_MANY,
        )

    return Listing(page, key=row_key)


def rows_reader(model: type[R], path: str, *, by_offset: bool = False) -> Callable[[Any], Page[R]]:
    """
    Return a function that reads a page whose list has an undocumented name.

    The list is the field named as the end of the path, or ``items``, or the only list in the response.
    """
    likely_names = (path.rpartition("/")[2].replace("-", "_"), "items")

    def read(data: Any) -> Page[R]:
        body = {"items": data} if isinstance(data, list) else object_in(data)
        lists = [name for name, value in body.items() if isinstance(value, list)]
        named = next((name for name in likely_names if name in lists), None)
        if named is None and len(lists) != 1:
            raise InvalidResponse(f"it has {len(lists)} lists where one was expected")
        return read_page(named or lists[0], model.model_validate, by_offset=by_offset)(body)

    return read


def row_key(row: Row) -> str:
    """Return what identifies a row in its list: its ids, or all of its fields if it has none."""
    reported = (row.model_extra or {}).get("reported_id")
    return f"{row.id} {reported or ''}" if row.id else all_fields(row)


def all_fields(item: Model) -> str:
    """Return the key of an item without an id. Only an equal item has it."""
    # ``repr`` of a model leaves out the fields that are not documented.
    return repr(sorted(item.model_dump(mode="json").items(), key=str))
