"""
The runs that are going on, by the page (https://docs.mosaic.so/api/agent-runs/get-all-agent-runs).

Only what a wait needs is read of each: a page holds a hundred of them, outputs and links and all, and thousands of
waits read it again and again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.models import list_in, object_in
from airflow_provider_mosaic.api.paging import PAGE_LIMIT, Page, read_page
from airflow_provider_mosaic.api.runs import NodeCounts, Run, RunStatus

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
        what="list the running runs",
        method="GET",
        path="/agent_runs",
        query={"limit": PAGE_LIMIT, "status": RunStatus.RUNNING.value, "cursor": cursor},
        read=_read,
    )


_read_cursor = read_page("no rows", object_in)


def _read(data: Any) -> Page[RunningRow]:
    rows = tuple(_row(item) for item in list_in(data, "runs"))
    # The rows are left out there: what reads cursors would copy each of them.
    return Page(rows, _read_cursor({**object_in(data), "runs": None, "no rows": []}).next_cursor)


def _row(item: Mapping[str, Any]) -> RunningRow:
    run_id = item.get("run_id") or item.get("agent_state_id") or item.get("id")
    counts = item.get("node_status_counts")
    return RunningRow(
        run_id=str(run_id) if run_id else "",
        running=item.get("status") == RunStatus.RUNNING.value,
        counts=_counts(counts) if isinstance(counts, Mapping) else None,
    )


def _counts(item: Mapping[str, Any]) -> Counts:
    numbers = (item.get("completed"), item.get("in_progress"), item.get("failed"))
    done, at_work, failed = (number if isinstance(number, int) else 0 for number in numbers)
    return done, at_work, failed


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
