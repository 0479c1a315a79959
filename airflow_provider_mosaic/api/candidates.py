"""
Was it done? What in the lists may be the start or the post whose answer was lost.

The API has no idempotency key, so after an unknown outcome nothing is sent again before the lists were looked at
(https://docs.mosaic.so/api/agent-runs/get-agent-runs).
"""

from __future__ import annotations

import enum
import functools
import html
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.decoding import REPLACEMENT
from airflow_provider_mosaic.api.endpoints.agents import Agent
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.endpoints.social import Post
from airflow_provider_mosaic.api.models import parse_time
from airflow_provider_mosaic.api.paging import PAGE_LIMIT
from airflow_provider_mosaic.api.search import Candidate

#: How far the server's clock may be from ours.
SKEW = timedelta(minutes=10)
#: Seconds by which the clocks of Mosaic's own machines may be from each other.
_SERVERS_APART = 10.0
#: Seconds by which rows that are sorted by one time may be out of order by another.
_JITTER = 1.0
#: The kinds of triggers that are documented, and the names of their ids
#: (https://docs.mosaic.so/api/agent-runs/get-agent-runs).
_TRIGGERS = frozenset({"youtube", "schedule"})
_TRIGGER_IDS = ("trigger_id", "schedule_id")
#: Combining marks in a row that a text may have.
_MOST_MARKS = 30
#: How far apart a time and the same one, misread in another time zone, can be.
_ZONES = timedelta(hours=15)


def runs_before(runs: Iterable[Run], *, most: int) -> tuple[tuple[str, ...], float | None] | None:
    """
    Which runs are there before a start, from as much of the list as that takes.

    In which order the list is, is not documented. Where it shows itself to be newest first, all behind the first page
    are older than those on it, and their ids are not needed. Otherwise it is read whole.

    What is begun after the answer has a later time than the newest in it, by however much Mosaic's own clocks disagree.
    So what is as old as the last one that was read was there before, once that is ten seconds older than the newest.

    :param runs: The agent's runs since shortly before the start, read as they are asked for.
    :param most: How many runs are read at most.
    :returns: Ids, and up to when everything else was there before too, in seconds since the epoch by Mosaic's clock;
        None for that when the ids are all. None when there are too many.
    """
    ids: list[str] = []
    newest = oldest = None
    newest_first = True
    for run in runs:
        if len(ids) >= most:
            return None
        ids.append(run.run_id)
        began = None if run.started_at is None else run.started_at.timestamp()
        newest_first = newest_first and began is not None and (oldest is None or began <= oldest + _JITTER)
        if not newest_first or began is None:
            continue
        newest = began if newest is None else max(newest, began)
        oldest = began if oldest is None else min(oldest, began)
        if len(ids) >= PAGE_LIMIT and oldest + _SERVERS_APART <= newest:
            return tuple(ids), oldest + _JITTER
    return tuple(ids), None


def run_candidates(
    runs: Iterable[Run], *, before: Collection[str], before_until: float | None = None
) -> list[Candidate]:
    """
    Runs that a lost start may have begun: by the API and not by a trigger, and not there before.

    One that says in a new way what it was begun by is doubtful: it is not taken, and nothing is started again either.

    :param runs: The agent's runs since shortly before the start, by any clock.
    :param before: Ids that were there before the start.
    :param before_until: Whatever was begun until then was there before too, in seconds since the epoch by Mosaic's
        clock.
    """
    return [
        Candidate(id=run.run_id, status=run.status, started_at=run.started_at, is_partial_match=run.by_trigger)
        for run in runs
        if run.run_id not in before
        and not (before_until is not None and run.started_at is not None and run.started_at.timestamp() <= before_until)
        and not (run.by_trigger and _names_its_trigger(run))
    ]


def _names_its_trigger(run: Run) -> bool:
    by = run.triggered_by or {}
    return str(by.get("type")).lower() in _TRIGGERS or any(by.get(name) for name in _TRIGGER_IDS)


class _Likeness(enum.IntEnum):
    """How far a row is from what was asked for, in one respect."""

    ANOTHER = 0
    DOUBTFUL = 1
    ALIKE = 2


def _of_text(shown: str | None, sent: str) -> _Likeness:
    """
    Of a text: it may come back with other spaces and line ends, composed otherwise, escaped, cut, or with something
    added, like the short form of a link.
    """
    if shown is None:
        return _Likeness.ALIKE
    ours = _plain(sent)
    cut = _before_dots(shown)
    for text in dict.fromkeys((shown, _unescaped(shown))):
        theirs = _plain(text)
        if theirs == ours or (cut and ours.startswith(_plain(_unescaped(cut)))):
            return _Likeness.ALIKE
        # A cut may leave half of an emoji, which was replaced when the response was read.
        theirs = theirs.removesuffix(REPLACEMENT).rstrip()
        # Nothing but dots, or nothing at all, may be what is left of anything.
        if not theirs.strip(". ") or ours.startswith(theirs) or (ours and theirs.startswith(ours)):
            return _Likeness.DOUBTFUL
    return _Likeness.ANOTHER


def _of_sets(shown: Collection[str], asked: Collection[str]) -> _Likeness:
    """Of destinations: a row may show only some of them, or ones that were added."""
    if not shown or not asked or set(shown) == set(asked):
        return _Likeness.ALIKE
    return _Likeness.ANOTHER if set(shown).isdisjoint(asked) else _Likeness.DOUBTFUL


def _of_times(shown: datetime | None, asked: datetime | None) -> _Likeness:
    """Of schedules: an immediate post may be given one of now by the server, so only two times can disagree."""
    if shown is None or asked is None or abs(shown - asked) < timedelta(minutes=1):
        return _Likeness.ALIKE
    return _Likeness.DOUBTFUL if abs(shown - asked) <= _ZONES else _Likeness.ANOTHER


def _before_dots(text: str) -> str:
    """Return what stands before the dots of a text that was cut; nothing if it was not."""
    whole = text.strip()
    dots = next((dots for dots in ("…", "...") if whole.endswith(dots)), "")
    return whole.removesuffix(dots).rstrip().removesuffix(REPLACEMENT).rstrip() if dots else ""


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:
        # The number of a character has more digits than Python reads.
        return text


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", _without_long_runs(text)).split()).casefold()


@functools.lru_cache(4096)
def _is_mark(sign: str) -> bool:
    # Some that combine with nothing themselves are written with marks that do.
    return unicodedata.combining(unicodedata.normalize("NFKD", sign)[0]) > 0


def _without_long_runs(text: str) -> str:
    """
    Leave out combining marks that follow too many others: normalizing takes as long as the square of their number.

    Thirty are what text has at most that is safe to process (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format).
    """
    if text.isascii():
        return text
    kept = []
    marks = 0
    for sign in text:
        marks = marks + 1 if _is_mark(sign) else 0
        if marks <= _MOST_MARKS:
            kept.append(sign)
    return "".join(kept)


def _platform(name: str) -> str:
    # The service that posts go through has its old name still.
    return {"twitter": "x"}.get(name.lower(), name.lower())


def post_candidates(
    posts: Iterable[Post], *, body: dict[str, Any], before: Collection[str] | None, since: float
) -> list[Candidate]:
    """
    Posts that a lost request may have made: same text, destinations and schedule, and not there before.

    To take our own post for another's would be to post it twice. So what a row of the list does not show can't speak
    against it, and one that differs in a way in which a server may show our own is doubtful: it is not taken, and
    nothing is sent again either. Only what surely is another's is left out.

    :param posts: The newest posts.
    :param body: The body of the request.
    :param before: Ids that were there before the request; None if they are not known.
    :param since: When the request was made at the earliest, in seconds since the epoch, by our clock.
    """
    earliest = datetime.fromtimestamp(since, timezone.utc) - SKEW
    connections = {destination["social_connection_id"] for destination in body.get("destinations", ())}
    platforms = set(map(_platform, body.get("platforms", ())))
    scheduled = parse_time(body.get("schedule_date"))

    def of_age(post: Post) -> _Likeness:
        if post.created_at is None or post.created_at >= earliest:
            return _Likeness.ALIKE
        # One that was not there before can't be old, unless the clocks are further apart than we think.
        return _Likeness.ANOTHER if before is None else _Likeness.DOUBTFUL

    def likeness(post: Post) -> _Likeness:
        shown = {d.platform for d in post.destinations if d.platform} | set(post.platforms)
        return min(
            of_age(post),
            _of_text(post.description, body["post"]),
            _of_sets({d.social_connection_id for d in post.destinations if d.social_connection_id}, connections),
            _of_sets(set(map(_platform, shown)), platforms),
            _of_times(post.scheduled_at, scheduled),
        )

    found = [(post, likeness(post)) for post in posts if post.post_id not in (before or ())]
    return [
        Candidate(
            id=post.post_id,
            status=post.status,
            started_at=post.created_at,
            is_partial_match=likeness is _Likeness.DOUBTFUL,
        )
        for post, likeness in found
        if likeness is not _Likeness.ANOTHER
    ]


def oldest(agents: Collection[Agent]) -> Agent | None:
    """
    The one of several agents that all who see the same ones take for the first.

    :param agents: The agents.
    :returns: The oldest, and of those made in the same moment the one with the smallest id; None if that is not said.
    """
    made = [(agent.created_at, agent.agent_id, agent) for agent in agents if agent.created_at is not None]
    if not made or len(made) < len(agents):
        return None
    return min(made, key=lambda each: each[:2])[2]
