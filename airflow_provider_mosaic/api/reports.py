"""The errors for a run, a post or an avatar profile that failed: what failed, what was rendered, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile
from airflow_provider_mosaic.api.endpoints.posts import UNCLEAR_ENDS, Post, PostStatus
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, RunStatus
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicPostFailedError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.redaction import MAX_LISTED, label, listed, more_than_listed, one_line

_MAX_MESSAGE_LENGTH = 300
_FAILED = "Failed nodes:"
_UNFINISHED = "Nodes that were cancelled or did not start:"
#: By the status of a run: the exception, what happened, what to do.
_RUN_FAILURES: dict[str, tuple[type[MosaicRunFailedError], str, str]] = {
    RunStatus.PARTIAL_COMPLETE.value: (
        MosaicRunPartialError,
        "ended partly: some outputs were rendered, others failed",
        "It can't be resumed. Download the outputs that were rendered, or start a new run.",
    ),
    RunStatus.CANCELLED.value: (MosaicRunCancelledError, "was cancelled", "It can be resumed."),
    RunStatus.FAILED.value: (MosaicRunFailedError, "failed", "Fix the cause, then resume it or start a new run."),
}


def node_lines(run: Run, nodes: Sequence[RunNode] = ()) -> tuple[str, ...]:
    """
    Return two tables, one line a node: the nodes that failed, and those that were cancelled or did not start.

    :param nodes: Its nodes. Without them, the names and the second table are missing.
    """
    names = {node.original_node_id: node.node_type.node_type_name for node in nodes if node.original_node_id}
    # The messages are the keys of a dict, which has each once and in order.
    tables: dict[str, dict[tuple[str, str], dict[str, None]]] = {_FAILED: {}, _UNFINISHED: {}}
    failed_ids: set[str | None] = set()

    def add(table: str, node_id: str | None, status: str, messages: Sequence[str]) -> None:
        key = (node_id or "?", (names.get(node_id) if node_id else None) or "node")
        shown = tables[table].setdefault(key, {})
        shown |= dict.fromkeys(messages)
        if not messages and not shown:
            shown[status] = None
        if table == _FAILED:
            failed_ids.add(key[0])

    for entry in run.errors:
        add(_FAILED, entry.original_node_id, "failed", entry.messages)
    for node in nodes:
        is_unfinished = node.status in ("blocked", "cancelled")
        if not (is_unfinished or node.status in ("failed", "partial_complete") or node.errors):
            continue
        messages = [*node.errors] or ([node.status_message] if node.status_message else [])
        if node.needs_credits and not messages:
            messages = ["short of credits"]
        node_id = node.original_node_id or node.agent_node_id
        has_failed = node_id in failed_ids
        add(_UNFINISHED if is_unfinished and not has_failed else _FAILED, node_id, node.status, messages)
    return tuple(line for heading, rows in tables.items() if rows for line in (heading, *_table(rows)))


def _table(rows: Mapping[tuple[str, str], Iterable[str]]) -> list[str]:
    first = islice(rows.items(), MAX_LISTED)
    shown = [(label(name), label(node_id), messages) for (node_id, name), messages in first]
    width = max(len(name) for name, _, _ in shown)
    lines = [f"  {name:<{width}}  {node_id}  {_short('; '.join(messages))}" for name, node_id, messages in shown]
    return [*lines, *(f"  {more}" for more in more_than_listed(len(rows)))]


def run_failure(run: Run, nodes: Sequence[RunNode] = (), *, advice: str = "") -> MosaicRunFailedError:
    """
    Return the exception for a run that did not complete.

    :param advice: What to do, or what happens next. Default: depends on the status.
    """
    kind, event, to_do = _RUN_FAILURES.get(run.status, (MosaicRunFailedError, "failed", "Check the failed nodes."))
    if run.needs_credits and run.status != RunStatus.PARTIAL_COMPLETE:
        kind, event = MosaicNeedsCreditsError, "stopped because the organization is short of credits"
        to_do = "Buy credits, then resume it. Only what is missing is rendered."
    return kind(
        f"Run {run.run_id!r} of agent {run.agent_id or '?'!r} {event}"
        f"{_reported(run.reported_status)}{_status_message(run.status_message)}.",
        means=kept_outputs(run),
        to_do=advice or to_do,
        rows=node_lines(run, nodes),
        run_id=run.run_id,
    )


def kept_outputs(run: Run) -> str:
    """Return a sentence on the outputs that a run has rendered."""
    if not run.outputs:
        return "Nothing was rendered."
    return f"{len(run.outputs)} output(s) were rendered and can be downloaded: {listed(run.output_ids)}."


def still_running_error(run: Run, *, before: str) -> MosaicRunFailedError:
    """
    Return the error for a run whose outputs are requested before its end.

    :param before: What must wait, for example ``its outputs are downloaded``.
    """
    return MosaicRunFailedError(
        f"Run {run.run_id!r} is still {run.status}.",
        to_do=f"Wait for it, with a MosaicRunSensor or wait_for_completion=True, before {before}.",
        run_id=run.run_id,
    )


def post_failure(post: Post) -> MosaicPostFailedError:
    """Return the exception for a post that was not published everywhere. It names the destinations."""
    published = [d.name for d in post.destination_results if d.is_published]
    failed = [f"{d.name}{_status_message(d.message)}" for d in post.destination_results if not d.may_be_published]
    means = []
    if post.status == PostStatus.REJECTED:
        means.append("It was refused in approval, or deleted.")
    elif published:
        means.append(f"It was published on {listed(published)}.")
    elif post.is_published_nowhere:
        means.append("Nothing was published.")
    if post.status in UNCLEAR_ENDS or not (means or post.status == PostStatus.PARTIAL_FAILURE):
        sign = f" (see {post.publication_sign!r} in its response)" if post.publication_sign else ""
        means.append(f"It may be published on some accounts{sign}, so it is not sent again. Check the accounts.")
    if failed and post.status != PostStatus.REJECTED:
        means.append(f"It failed on {'; '.join([*failed[:MAX_LISTED], *more_than_listed(len(failed))])}.")
    is_partial = post.status == PostStatus.PARTIAL_FAILURE
    return MosaicPostFailedError(
        f"Post {post.post_id!r} ended as {post.status}{_reported(post.reported_status)}{_status_message(post.error)}.",
        means=" ".join(means),
        to_do="The post is not sent again. Make a new post for the destinations that failed." if is_partial else "",
        post_id=post.post_id,
    )


def avatar_profile_failure(profile: AvatarProfile) -> MosaicError:
    """Return the exception for an avatar profile that failed."""
    return MosaicError(
        f"Avatar profile {profile.id!r} failed"
        f"{_reported(profile.reported_status)}{_status_message(profile.status_message)}.",
        means="A failed profile stays failed. No run was started.",
        to_do="Fix its sources and create another profile.",
    )


def _reported(status: str | None) -> str:
    return f" (Mosaic reports {status!r})" if status else ""


def _status_message(message: str | None) -> str:
    return f": {_short(message)}" if message else ""


def _short(text: str) -> str:
    return one_line(" ".join(text.split()), longest=_MAX_MESSAGE_LENGTH).rstrip(".")
