"""
Read the list of running runs (https://docs.mosaic.so/api/agent-runs/get-all-agent-runs) page by page.

A page holds a hundred runs with all their outputs and links, and a triggerer reads pages all the time. Only the fields
that a wait needs are decoded, into objects that Python's garbage collector does not track. Tracked objects cause more
full collections, and each of these blocks the event loop for half a second if ten thousand waits are held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.endpoints.runs import NodeCounts, Run, RunStatus
from airflow_provider_mosaic.api.models import as_count, list_in, object_in, status_key
from airflow_provider_mosaic.api.paging import PAGE_FIELDS, PAGE_LIMIT, Page, read_page
from airflow_provider_mosaic.api.responses import decode_json

#: How many nodes are completed, in progress, and failed.
Counts = tuple[int, int, int]
#: The largest count that needs no check.
_MAX_SMALL = 1_000_000
#: Characters of the longest run id.
_MAX_ID_LENGTH = 500


@dataclass(frozen=True, slots=True)
class RunningRow:
    """
    One row of the list.

    :param run_id: The run; empty if the row has no id.
    :param running: Whether the row has the status of a running run: a server may ignore the filter.
    :param counts: How many nodes are completed, in progress, and failed; None if the row does not show it.
    """

    run_id: str
    running: bool
    counts: Counts | None = None


def running_runs(cursor: str | None = None) -> Call[Page[RunningRow]]:
    """
    Read one page of the running runs of all agents.

    :param cursor: The cursor of the page; None for the first page.
    """
    return Call(
        description="list the running runs",
        path="/agent_runs",
        query={"limit": PAGE_LIMIT, "status": RunStatus.RUNNING.value, "cursor": cursor},
        decode=_decode,
        read=_read,
        max_bytes=MAX_BYTES_OF_MANY,
        # A page of a hundred runs has 2,500 values, and takes 0.2 ms: less than the change to a thread costs.
        max_values_on_loop=10_000,
    )


class _Item(msgspec.Struct, gc=False):
    run_id: Any = None
    agent_state_id: Any = None
    id: Any = None
    status: Any = None
    node_status_counts: Any = None


class _Body(msgspec.Struct, gc=False):
    runs: list[_Item]


# A null next cursor differs from none.
_page_fields = [(name, Any, msgspec.UNSET) for name in PAGE_FIELDS]
_body = msgspec.json.Decoder(msgspec.defstruct("_PageBody", _page_fields, bases=(_Body,), gc=False))
_read_place = read_page("runs", object_in)


def _decode(content: bytes) -> _Body | Any:
    """Decode the needed fields of a page in the documented shape, and everything of any other page."""
    try:
        return _body.decode(content)
    except msgspec.MsgspecError:
        return decode_json(content)


def _read(data: _Body | Any) -> Page[RunningRow]:
    if isinstance(data, _Body):
        items = data.runs
        fields = {name: value for name in PAGE_FIELDS if (value := getattr(data, name)) is not msgspec.UNSET}
    else:
        items, fields = [msgspec.convert(item, _Item) for item in list_in(data, "runs")], object_in(data)
    page = _read_place({**fields, "runs": None})
    return Page(tuple(map(_row, items)), page.next_cursor, page.total)


def _row(item: _Item) -> RunningRow:
    run_id = item.run_id or item.agent_state_id or item.id
    counts = item.node_status_counts
    return RunningRow(
        run_id=text if len(text := str(run_id or "")) <= _MAX_ID_LENGTH else "",
        running=item.status == RunStatus.RUNNING.value or _is_running(item.status),
        counts=_counts(counts) if isinstance(counts, Mapping) else None,
    )


def _is_running(status: Any) -> bool:
    return isinstance(status, str) and status_key(status) == RunStatus.RUNNING.value


def _counts(item: Mapping[str, Any]) -> Counts:
    return _count(item.get("completed")), _count(item.get("in_progress")), _count(item.get("failed"))


def _count(number: Any) -> int:
    # A triggerer reads thousands of counts. Nearly all are small integers.
    return number if type(number) is int and 0 <= number <= _MAX_SMALL else as_count(number)


def counts_of(run: Run) -> Counts:
    """Return how many nodes of a run are completed, in progress, and failed."""
    counts = run.node_status_counts
    return counts.completed, counts.in_progress, counts.failed


def still_running(run_id: str, counts: Counts, *, needs_credits: bool) -> Run:
    """
    Return the run that a row shows.

    :param needs_credits: Whether the run is short of credits. Rows do not show that.
    """
    completed, in_progress, failed = counts
    return Run(
        run_id=run_id,
        status=RunStatus.RUNNING.value,
        node_status_counts=NodeCounts(completed=completed, in_progress=in_progress, failed=failed),
        needs_credits=needs_credits,
    )
