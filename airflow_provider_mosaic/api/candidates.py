"""
Find the runs and posts in the lists that a request without a response may have created.

The API has no idempotency key. If the outcome of a request is unknown, the lists are read before it is sent again
(https://docs.mosaic.so/api/agent-runs/get-agent-runs).
"""

from __future__ import annotations

import enum
import functools
import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.arguments import id_key
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.api.endpoints.social import Post
from airflow_provider_mosaic.api.models import parse_time
from airflow_provider_mosaic.api.paging import PAGE_LIMIT
from airflow_provider_mosaic.api.responses import REPLACEMENT, unescaped
from airflow_provider_mosaic.api.search import Candidate

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
#: Least share of the parts of two texts that similar texts have in common. Unrelated sentences have less than a third.
_LEAST_SIMILARITY = 0.5
_LINK = re.compile(r"https?://\S*")
#: Characters of a text that are compared. A comparison takes some hundred bytes a character.
_MAX_COMPARED = 20_000
#: Most combining marks in a row that are compared.
_MAX_MARKS = 30
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


class _Match(enum.IntEnum):
    """How well a listed post matches the request in one respect."""

    NONE = 0
    PARTIAL = 1
    FULL = 2


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

    def match_age(post: Post) -> _Match:
        if post.created_at is None or post.created_at >= earliest:
            return _Match.FULL
        # A post that did not exist before can't be old, unless the clocks differ by more than SKEW.
        return _Match.NONE if before is None else _Match.PARTIAL

    def match(post: Post) -> _Match:
        shown = {d.platform for d in post.destinations if d.platform} | set(post.platforms)
        return min(
            match_age(post),
            _match_text(post.description, body["post"]),
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
            is_partial_match=found is _Match.PARTIAL,
        )
        for post in posts
        if post.post_id not in (before or ()) and (found := match(post)) is not _Match.NONE
    ]


def _match_text(shown: str | None, sent: str) -> _Match:
    """
    Compare texts. Mosaic may normalize spaces, compose characters, escape or cut the text, or add to it, for example a
    short link. A text that was changed in another way is similar.

    Only the beginnings of long texts are compared, so they are at most a partial match unless they are equal.
    """
    if shown is None or shown == sent:
        return _Match.FULL
    match = _match_beginnings(shown[:_MAX_COMPARED], sent[:_MAX_COMPARED])
    return min(match, _Match.PARTIAL) if max(len(shown), len(sent)) > _MAX_COMPARED else match


def _match_beginnings(shown: str, sent: str) -> _Match:
    ours = _normalize(sent)
    cut = _before_ellipsis(shown)
    for text in dict.fromkeys((shown, unescaped(shown))):
        theirs = _normalize(text)
        if theirs == ours or (cut and ours.startswith(_normalize(unescaped(cut)))):
            return _Match.FULL
        # A cut may leave half of an emoji, which the decoder has replaced.
        theirs = theirs.removesuffix(REPLACEMENT).rstrip()
        # An empty text or an ellipsis may be the rest of any text.
        if not theirs.strip(". ") or ours.startswith(theirs) or (ours and theirs.startswith(ours)):
            return _Match.PARTIAL
    return _Match.PARTIAL if _are_similar(ours, _normalize(shown)) else _Match.NONE


def _are_similar(ours: str, theirs: str) -> bool:
    """Return whether two texts have half of their parts in common, without links, which may be shortened."""
    # Normalized, a text may be longer than before.
    our_parts, their_parts = (_parts(_LINK.sub("", text[:_MAX_COMPARED])) for text in (ours, theirs))
    return 2 * len(our_parts & their_parts) >= _LEAST_SIMILARITY * (len(our_parts) + len(their_parts))


def _parts(text: str) -> frozenset[str]:
    """Return all sequences of three characters. Words would not do: not every language separates them by spaces."""
    return frozenset(text[start : start + 3] for start in range(max(1, len(text) - 2)))


def _match_sets(shown: Collection[str], requested: Collection[str]) -> _Match:
    """Compare destinations. A row may show only some of them, or additional ones."""
    if not shown or not requested or set(shown) == set(requested):
        return _Match.FULL
    return _Match.NONE if set(shown).isdisjoint(requested) else _Match.PARTIAL


def _match_times(shown: datetime | None, requested: datetime | None) -> _Match:
    """Compare schedules. A post without a schedule may be listed with the time of its creation."""
    if shown is None or requested is None or abs(shown - requested) < timedelta(minutes=1):
        return _Match.FULL
    return _Match.PARTIAL if abs(shown - requested) <= _MAX_ZONE_SHIFT else _Match.NONE


def _before_ellipsis(text: str) -> str:
    """Return the text before a final ellipsis, or nothing if there is none."""
    whole = text.strip()
    ellipsis = next((each for each in ("…", "...") if whole.endswith(each)), "")
    return whole.removesuffix(ellipsis).rstrip().removesuffix(REPLACEMENT).rstrip() if ellipsis else ""


def _normalize(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", _limit_marks(text)).split()).casefold()


@functools.lru_cache(4096)
def _is_mark(character: str) -> bool:
    # Some characters are no marks, but are decomposed into marks.
    return unicodedata.combining(unicodedata.normalize("NFKD", character)[0]) > 0


def _limit_marks(text: str) -> str:
    """
    Remove combining marks after the thirtieth in a row: normalizing them takes time in the square of their number.

    Thirty is the limit of the stream-safe text format (https://www.unicode.org/reports/tr15/#Stream_Safe_Text_Format).
    """
    if text.isascii():
        return text
    kept = []
    marks = 0
    for character in text:
        marks = marks + 1 if _is_mark(character) else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def _platform(name: str) -> str:
    # The service behind Mosaic's posts still uses the old name.
    return {"twitter": "x"}.get(name.lower(), name.lower())
