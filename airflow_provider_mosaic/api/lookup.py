"""
Was it done? What the lists say about a start or a post whose answer was lost.

The API has no idempotency key, so after an unknown outcome nothing is sent again before the lists were looked at
(https://docs.mosaic.so/api/agent-runs/get-agent-runs). Lists lag, and a gateway's 504 may come before the effect:
one look proves nothing, and the looks go on for two minutes.
"""

from __future__ import annotations

import enum
import html
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_mosaic.api.models import parse_time
from airflow_provider_mosaic.api.runs import Run
from airflow_provider_mosaic.api.social import Post

#: Seconds between the looks; together two minutes.
PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0)
#: How far the server's clock may be from ours.
SKEW = timedelta(minutes=10)


class Finding(enum.Enum):
    """What the looks came to."""

    FOUND = "found"
    NOTHING = "nothing"
    UNCLEAR = "unclear"
    LOOK_AGAIN = "look again"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """
    Something in a list that may be what was asked for.

    :param id: The run or post.
    :param status: Its status.
    :param began: When it was started or made, if the list says.
    """

    id: str
    status: str
    began: datetime | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.status}{f', since {self.began:%Y-%m-%d %H:%M:%S} UTC' if self.began else ''})"


def judge_candidates(
    candidates: Sequence[Candidate], *, owned: Collection[str], unsettled: int, last_look: bool
) -> tuple[Finding, tuple[Candidate, ...]]:
    """
    What one look comes to, and the candidates that are left.

    :param candidates: What fits, from the list.
    :param owned: Ids that other tasks are known to have begun.
    :param unsettled: How many other tasks may have begun something without having said its id yet.
    :param last_look: Whether the two minutes are over.
    """
    left = tuple(candidate for candidate in candidates if candidate.id not in owned)
    if len(left) == 1 and not unsettled:
        return Finding.FOUND, left
    if not last_look:
        return Finding.LOOK_AGAIN, left
    return (Finding.UNCLEAR if left else Finding.NOTHING), left


def run_candidates(runs: Iterable[Run], *, before: Collection[str]) -> list[Candidate]:
    """
    Runs that a lost start may have begun: by the API and not by a trigger, and not there before.

    :param runs: The agent's runs since shortly before the start, by any clock.
    :param before: Ids that were there before the start.
    """
    return [
        Candidate(id=run.run_id, status=run.status, began=run.started_at)
        for run in runs
        if run.run_id not in before and not run.by_trigger
    ]


def _same_text(shown: str, sent: str) -> bool:
    """
    Whether a post that shows one text may be the one with the other: it may come back with other spaces and line ends,
    composed otherwise, escaped, or cut. To take our own post for another's would be to post it twice.
    """
    cut = re.fullmatch(r"(.+?)\s*(?:…|\.\.\.)", shown.strip(), re.DOTALL)
    ours = _plain(sent)
    return any(
        _plain(text) == ours or (cut is not None and ours.startswith(_plain(html.unescape(cut[1]))))
        for text in (shown, html.unescape(shown))
    )


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split()).casefold()


def _platform(name: str) -> str:
    # The service that posts go through has its old name still.
    return {"twitter": "x"}.get(name.lower(), name.lower())


def post_candidates(
    posts: Iterable[Post], *, body: dict[str, Any], before: Collection[str], since: float
) -> list[Candidate]:
    """
    Posts that a lost request may have made: same text, destinations and schedule, and not there before.

    What a row of the list does not show can't speak against it.

    :param posts: The newest posts.
    :param body: The body of the request.
    :param before: Ids that were there before the request.
    :param since: When the request was made at the earliest, in seconds since the epoch, by our clock.
    """
    earliest = datetime.fromtimestamp(since, timezone.utc) - SKEW
    connections = {destination["social_connection_id"] for destination in body.get("destinations", ())}
    platforms = set(body.get("platforms", ()))
    scheduled = parse_time(body.get("schedule_date"))

    def fits(post: Post) -> bool:
        if post.created_at is not None and post.created_at < earliest:
            return False
        if post.description is not None and not _same_text(post.description, body["post"]):
            return False
        shown = {d.social_connection_id for d in post.destinations if d.social_connection_id}
        if connections and shown and shown != connections:
            return False
        shown_platforms = {d.platform for d in post.destinations if d.platform} | set(post.platforms)
        if platforms and shown_platforms and set(map(_platform, shown_platforms)) != set(map(_platform, platforms)):
            return False
        if scheduled is None or post.scheduled_at is None:
            # An immediate post may be given a schedule of now by the server, so only two times can disagree.
            return True
        return abs(post.scheduled_at - scheduled) < timedelta(minutes=1)

    return [
        Candidate(id=post.post_id, status=post.status, began=post.created_at)
        for post in posts
        if post.post_id not in before and fits(post)
    ]
