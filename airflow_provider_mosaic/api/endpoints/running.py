"""
The runs that are going on, by the page (https://docs.mosaic.so/api/agent-runs/get-all-agent-runs).

Only what a wait needs is read of each: a page holds a hundred of them, outputs and links and all, and thousands of
waits read it again and again. What Python's garbage collector has to look at while a page is read brings its next full
collection nearer, and that one holds a triggerer's event loop for half a second when ten thousand wait there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call
from airflow_provider_mosaic.api.decoding import decode_json
from airflow_provider_mosaic.api.endpoints.runs import NodeCounts, Run, RunStatus
from airflow_provider_mosaic.api.models import list_in, object_in, status_key
from airflow_provider_mosaic.api.paging import PAGE_LIMIT, Page, read_page

#: How many nodes are done, at work, and failed.
Counts = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class RunningRow:
    """
    One row of the list.

    :param run_id: The run; empty where the row does not name it.
    :param running: Whether the row itself says that it is running: a server may not heed the filter.
    :param counts: How many nodes are done, at work, and failed; None where the row does not say.
    """

    run_id: str
    running: bool
    counts: Counts | None = None


def running_runs(cursor: str | None = None) -> Call[Page[RunningRow]]:
    """
    One page of the runs of all agents that are running.

    :param cursor: Where the page begins; None for the first.
    """
    return Call(
        description="list the running runs",
        method="GET",
        path="/agent_runs",
        query={"limit": PAGE_LIMIT, "status": RunStatus.RUNNING.value, "cursor": cursor},
        decode=_decode,
        read=_read,
        max_bytes=MAX_BYTES_OF_MANY,
    )


class _Item(msgspec.Struct, gc=False):
    run_id: Any = None
    agent_state_id: Any = None
    id: Any = None
    status: Any = None
    node_status_counts: Any = None


class _Body(msgspec.Struct, gc=False):
    runs: list[_Item]
    next_cursor: Any = None
    cursor: Any = None


_body = msgspec.json.Decoder(_Body)
_read_cursor = read_page("runs", object_in)


def _decode(content: bytes) -> _Body | Any:
    """What is needed of a page that is as documented; of any other, all that it holds."""
    try:
        return _body.decode(content)
    except msgspec.MsgspecError:
        return decode_json(content)


def _read(data: _Body | Any) -> Page[RunningRow]:
    if isinstance(data, _Body):
        items, cursors = data.runs, {"next_cursor": data.next_cursor, "cursor": data.cursor}
    else:
        items, cursors = [msgspec.convert(item, _Item) for item in list_in(data, "runs")], object_in(data)
    return Page(tuple(map(_row, items)), _read_cursor({**cursors, "runs": None}).next_cursor)


def _row(item: _Item) -> RunningRow:
    run_id = item.run_id or item.agent_state_id or item.id
    counts = item.node_status_counts
    return RunningRow(
        run_id=str(run_id) if run_id else "",
        running=item.status == RunStatus.RUNNING.value or _is_running(item.status),
        counts=_counts(counts) if isinstance(counts, Mapping) else None,
    )


def _is_running(status: Any) -> bool:
    return isinstance(status, str) and status_key(status) == RunStatus.RUNNING.value


def _counts(item: Mapping[str, Any]) -> Counts:
    return _count(item.get("completed")), _count(item.get("in_progress")), _count(item.get("failed"))


def _count(number: Any) -> int:
    return number if isinstance(number, int) else 0


def counts_of(run: Run) -> Counts:
    """
    How many nodes of a run are done, at work, and failed.

    :param run: The run.
    """
    counts = run.node_status_counts
    return counts.completed, counts.in_progress, counts.failed


def still_running(run_id: str, counts: Counts, *, needs_credits: bool) -> Run:
    """
    A run as its row shows it.

    :param run_id: The run.
    :param counts: How many nodes are done, at work, and failed.
    :param needs_credits: Whether it is short of credits, which rows do not say.
    """
    done, at_work, failed = counts
    return Run(
        run_id=run_id,
        status=RunStatus.RUNNING.value,
        node_status_counts=NodeCounts(completed=done, in_progress=at_work, failed=failed),
        needs_credits=needs_credits,
    )
