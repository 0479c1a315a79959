"""
Find the runs and posts in the lists that a request without a response may have created.

The API has no idempotency key. If the outcome of a request is unknown, the lists are read before it is sent again
(https://docs.mosaic.so/api/agent-runs/get-agent-runs).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.models import parse_time
from airflow_provider_mosaic.api.paging import PAGE_LIMIT
from airflow_provider_mosaic.api.search import Candidate
from airflow_provider_mosaic.api.text_match import Match, match_text

#: Largest difference between the server's clock and ours.
SKEW = timedelta(minutes=10)
#: Largest difference in seconds between the clocks of Mosaic's servers.
_SERVER_SKEW = 10.0
#: Seconds by which rows may be out of order by ``started_at`` if the list is sorted by another time.
_JITTER = 1.0
#: The documented types of triggers, and the fields with their ids
#: (https://docs.mosaic.so/api/agent-runs/get-agent-runs).
_TRIGGERS = frozenset({"youtube", "schedule"})
_TRIGGER_IDS = ("trigger_id", "schedule_id")
#: Largest difference between a time and the same time read in another time zone.
_MAX_ZONE_SHIFT = timedelta(hours=15)


# Runs


def runs_before(runs: Iterable[Run], *, most: int) -> tuple[tuple[str, ...], float | None] | None:
    """
    Return which runs exist before a start, reading only as much of the list as that takes.

    The API does not document the order of the list. If the first page is sorted newest first, all runs behind it are
    older, and their ids are not needed. Otherwise the whole list is read.

    A run that is started later has a later ``started_at`` than the newest run, apart from the skew between Mosaic's
    servers. Reading can stop at a run that is ten seconds older than the newest: all runs of its age exist already.

    :param runs: The agent's runs since shortly before the start, as an iterator that reads pages as needed.
    :returns: The ids, and the ``started_at`` (in seconds since the epoch) up to which all other runs exist too; None
        instead of that time if the ids are complete. None if there are too many runs.
    """
    ids: list[str] = []
    newest = oldest = None
    newest_first = True
    for run in runs:
        if len(ids) >= most:
            return None
        ids.append(run.run_id)
        started_at = None if run.started_at is None else run.started_at.timestamp()
        is_older = started_at is not None and (oldest is None or started_at <= oldest + _JITTER)
        newest_first = newest_first and is_older
        if not newest_first or started_at is None:
            continue
        newest = started_at if newest is None else max(newest, started_at)
        oldest = started_at if oldest is None else min(oldest, started_at)
        if len(ids) >= PAGE_LIMIT and oldest + _SERVER_SKEW <= newest:
            return tuple(ids), oldest + _JITTER
    return tuple(ids), None


def run_candidates(
    runs: Iterable[Run], *, before: Collection[str], before_until: float | None = None
) -> list[Candidate]:
    """
    Return the runs that the request may have started: by the API, not in the editor or by a trigger, and not there
    before.

    A run with an undocumented ``triggered_by`` is a partial match: it is not adopted, and no new run is started.

    :param before_until: Runs that were started until then existed too; in seconds since the epoch, by Mosaic's clock.
    """
    return [
        Candidate(
            id=run.run_id,
            status=run.status,
            started_at=run.started_at,
            is_partial_match=run.by_trigger or _source(run) not in ("", "api"),
        )
        for run in runs
        if run.run_id not in before
        and not (before_until is not None and run.started_at is not None and run.started_at.timestamp() <= before_until)
        and not (run.by_trigger and _names_its_trigger(run))
        and _source(run) != "ui"
    ]


def _source(run: Run) -> str:
    """Return where a user started the run: ``api``, or ``ui`` for the editor; empty if it is not reported."""
    return str((run.triggered_by or {}).get("source") or "").strip().lower()


def _names_its_trigger(run: Run) -> bool:
    by = run.triggered_by or {}
    return str(by.get("type")).lower() in _TRIGGERS or any(by.get(name) for name in _TRIGGER_IDS)


# Posts


def post_candidates(
    posts: Iterable[Post], *, body: dict[str, Any], before: Collection[str] | None, since: float
) -> list[Candidate]:
    """
    Return the posts that the request may have created: same text, destinations and schedule, and not there before.

    If our own post were taken for that of another task, the post would be published twice. Only posts that can't be
    ours are left out. A field that the list does not show counts as a match. A field that differs in a way in which
    Mosaic may show our own post makes a partial match: the post is not adopted, and no new post is sent.

    :param before: Ids of posts that existed before the request; None if they are not known.
    :param since: Earliest time of the request, in seconds since the epoch, by our clock.
    """
    earliest = datetime.fromtimestamp(since, timezone.utc) - SKEW
    connections = {id_key(destination["social_connection_id"]) for destination in body.get("destinations", ())}
    platforms = set(map(_platform, body.get("platforms", ())))
    scheduled = parse_time(body.get("schedule_date"))

    def match_age(post: Post) -> Match:
        if post.created_at is None or post.created_at >= earliest:
            return Match.FULL
        # A post that did not exist before can't be old, unless the clocks differ by more than SKEW.
        return Match.NONE if before is None else Match.PARTIAL

    def match(post: Post) -> Match:
        shown = {d.platform for d in post.destinations if d.platform} | set(post.platforms)
        return min(
            match_age(post),
            match_text(post.description, body["post"]),
            _match_sets(
                {id_key(d.social_connection_id) for d in post.destinations if d.social_connection_id}, connections
            ),
            _match_sets(set(map(_platform, shown)), platforms),
            _match_times(post.scheduled_at, scheduled),
        )

    # Without a list of the posts: their texts may be large.
    return [
        Candidate(
            id=post.post_id,
            status=post.status,
            started_at=post.created_at,
            is_partial_match=found is Match.PARTIAL,
        )
        for post in posts
        if post.post_id not in (before or ()) and (found := match(post)) is not Match.NONE
    ]


def _match_sets(shown: Collection[str], requested: Collection[str]) -> Match:
    """Compare destinations. A row may show only some of them, or additional ones."""
    if not shown or not requested or set(shown) == set(requested):
        return Match.FULL
    return Match.NONE if set(shown).isdisjoint(requested) else Match.PARTIAL


def _match_times(shown: datetime | None, requested: datetime | None) -> Match:
    """Compare schedules. A post without a schedule may be listed with the time of its creation."""
    if shown is None or requested is None or abs(shown - requested) < timedelta(minutes=1):
        return Match.FULL
    return Match.PARTIAL if abs(shown - requested) <= _MAX_ZONE_SHIFT else Match.NONE


def _platform(name: str) -> str:
    # The service behind Mosaic's posts still uses the old name.
    return {"twitter": "x"}.get(name.lower(), name.lower())
