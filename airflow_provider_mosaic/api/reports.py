"""The story of an end, for the person who is woken by it: what failed, what was rendered all the same, what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airflow_provider_mosaic.api.endpoints.avatars import AvatarProfile
from airflow_provider_mosaic.api.endpoints.runs import Run, RunNode, RunStatus
from airflow_provider_mosaic.api.endpoints.social import UNCLEAR_ENDS, Post, PostStatus
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicNeedsCreditsError,
    MosaicPostFailedError,
    MosaicRunCancelledError,
    MosaicRunFailedError,
    MosaicRunPartialError,
)
from airflow_provider_mosaic.api.redaction import label, one_line

_LONGEST_MESSAGE = 300
#: What more there is would bury the rest: nodes, ids of outputs, destinations.
_MOST_NAMED = 50


def node_lines(run: Run, nodes: Sequence[RunNode] = ()) -> tuple[str, ...]:
    """
    Return two tables, one line a node: the nodes that failed, and those that were cancelled or never started.

    :param run: The run.
    :param nodes: Its nodes. Without them, the names and the second table are missing.
    """
    names = {node.original_node_id: node.node_type.node_type_name for node in nodes if node.original_node_id}
    tables: dict[str, dict[tuple[str, str], list[str]]] = {_FAILED: {}, _UNFINISHED: {}}

    def add(table: str, node_id: str | None, status: str, messages: Sequence[str]) -> None:
        key = (node_id or "?", (names.get(node_id) if node_id else None) or "node")
        known = tables[table].setdefault(key, [])
        known.extend(message for message in messages if message not in known)
        if not messages and not known:
            known.append(status)

    for entry in run.errors:
        add(_FAILED, entry.original_node_id, "failed", entry.messages)
    for node in nodes:
        unfinished = node.status in ("blocked", "cancelled")
        if unfinished or node.status in ("failed", "partial_complete") or node.errors:
            said = [*node.errors] or ([node.status_message] if node.status_message else [])
            short = ["short of credits"] if node.needs_credits and not said else []
            node_id = node.original_node_id or node.agent_node_id
            known = any(node_id == each for each, _ in tables[_FAILED])
            add(_UNFINISHED if unfinished and not known else _FAILED, node_id, node.status, [*said, *short])
    return tuple(line for heading, rows in tables.items() if rows for line in (heading, *_table(rows)))


_FAILED = "Failed nodes:"
_UNFINISHED = "Nodes that were cancelled or did not start:"


def _table(rows: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    shown = [(label(name), label(node_id), messages) for (node_id, name), messages in rows.items()][:_MOST_NAMED]
    width = max(len(name) for name, _, _ in shown)
    lines = [f"  {name:<{width}}  {node_id}  {_short('; '.join(messages))}" for name, node_id, messages in shown]
    return [*lines, *(f"  {more}" for more in _more(len(rows)))]


def run_failure(run: Run, nodes: Sequence[RunNode] = (), *, advice: str = "") -> MosaicRunFailedError:
    """
    The exception for a run that did not end as it should.

    :param run: The run.
    :param nodes: Its nodes.
    :param advice: What happens next, or what to do.
    """
    kind, what, cure = _KINDS.get(run.status, (MosaicRunFailedError, "failed", "Look at the failed nodes."))
    if run.needs_credits and run.status != RunStatus.PARTIAL_COMPLETE:
        kind, what, cure = (
            MosaicNeedsCreditsError,
            "stopped for want of credits",
            "Buy credits, then resume it: only what is missing is done again.",
        )
    said = f" (Mosaic calls it {run.reported_status!r})" if run.reported_status else ""
    said += f": {_short(run.status_message)}" if run.status_message else ""
    return kind(
        f"Run {run.run_id!r} of agent {run.agent_id or '?'!r} {what}{said}.",
        means=kept_outputs(run),
        to_do=advice or cure,
        items=node_lines(run, nodes),
        run_id=run.run_id,
    )


def kept_outputs(run: Run) -> str:
    """
    Return a sentence on what a run has rendered.

    :param run: The run.
    """
    if not run.outputs:
        return "Nothing was rendered."
    return f"{len(run.outputs)} output(s) were rendered and can be fetched: {_named(run.output_ids)}."


_KINDS: dict[str, tuple[type[MosaicRunFailedError], str, str]] = {
    RunStatus.PARTIAL_COMPLETE.value: (
        MosaicRunPartialError,
        "ended partly: some outputs are there, others failed",
        "It can't be resumed; fetch what is there, or start a new run.",
    ),
    RunStatus.CANCELLED.value: (MosaicRunCancelledError, "was cancelled", "It can be resumed."),
    RunStatus.FAILED.value: (MosaicRunFailedError, "failed", "Mend the cause, then resume it or start a new run."),
}


def still_running_words(run: Run, *, before: str) -> MosaicRunFailedError:
    """
    The error for a run whose outputs are wanted too early.

    :param run: The run.
    :param before: What should have waited, for example ``its outputs are fetched``.
    """
    return MosaicRunFailedError(
        f"Run {run.run_id!r} is still {run.status}.",
        to_do=f"Wait for it, with a MosaicRunSensor or wait_for_completion=True, before {before}.",
        run_id=run.run_id,
    )


def post_failure(post: Post) -> MosaicPostFailedError:
    """
    The exception for a post that did not go out, or not everywhere; it names the destinations.

    :param post: The post.
    """
    out = [d.name for d in post.outcomes if d.is_published]
    failed = [f"{d.name}{f': {_short(d.message)}' if d.message else ''}" for d in post.outcomes if not d.is_published]
    means = []
    if post.status == PostStatus.REJECTED:
        means.append("It was refused in approval, or deleted.")
    elif out:
        means.append(f"It is out on {_named(out)}.")
    elif post.status == PostStatus.FAILED:
        means.append("Nothing is out.")
    if post.status in UNCLEAR_ENDS:
        means.append("Whether a part of it is out is not known, so it is not made again: check the accounts.")
    failed = [*failed[:_MOST_NAMED], *_more(len(failed))]
    if failed and post.status != PostStatus.REJECTED:
        means.append(f"It failed on {'; '.join(failed)}.")
    partial = post.status == PostStatus.PARTIAL_FAILURE
    reported = f" (Mosaic calls it {post.reported_status!r})" if post.reported_status else ""
    return MosaicPostFailedError(
        f"Post {post.post_id!r} ended as {post.status}{reported}.",
        means=" ".join(means),
        to_do="It is not sent again as a whole: make a new post for the destinations that failed." if partial else "",
        post_id=post.post_id,
    )


def avatar_profile_failure(profile: AvatarProfile) -> MosaicError:
    """
    The exception for an avatar profile that failed.

    :param profile: The profile.
    """
    said = f" (Mosaic calls it {profile.reported_status!r})" if profile.reported_status else ""
    said += f": {_short(profile.status_message)}" if profile.status_message else ""
    return MosaicError(
        f"Avatar profile {profile.id!r} failed{said}.",
        means="It stays so. No run was started.",
        to_do="Mend its sources and make another one.",
    )


def _short(text: str | None) -> str:
    return one_line(" ".join((text or "").split()), longest=_LONGEST_MESSAGE).rstrip(".")


def _named(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *_more(len(names))])


def _more(count: int) -> list[str]:
    return [f"and {count - _MOST_NAMED} more"] if count > _MOST_NAMED else []
