"""Analytics and comments of posts: made up, but always the same for a destination."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mosaic_emulator.social.posts import Destination, Post

METRICS: Final = ("likes", "comments", "shares", "impressions", "views", "video_views")


@dataclass(frozen=True)
class Comment:
    """A comment on a destination."""

    number: int
    id: str
    platform: str
    platform_comment_id: str
    text: str
    #: Some platforms provide no time.
    created_at: datetime | None
    replies: tuple[Comment, ...] = ()

    def as_json(self, text: Any) -> dict[str, Any]:
        """Return the comment. ``text`` formats times that may be missing."""
        return {
            "comment_id": self.id,
            "platform": self.platform,
            "platform_comment_id": self.platform_comment_id,
            "text": self.text,
            "author": "A viewer",
            "created_at": text(self.created_at),
            "replies": [each.as_json(text) for each in self.replies],
        }


def _pseudo_random(*parts: object) -> int:
    return int(hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:4], 16)


def published_destinations(post: Post, connection_id: str | None = None) -> list[Destination]:
    """Return the destinations where a post is published."""
    return [
        each for each in post.destinations if each.status == "posted" and connection_id in (None, each.connection.id)
    ]


def analytics_json(post: Post, destinations: list[Destination]) -> dict[str, Any]:
    """Return the analytics of a post: each platform once, with all metrics."""
    platforms: dict[str, dict[str, Any]] = {}
    for each in destinations:
        if each.connection.platform in platforms:
            continue
        # A metric that the platform does not provide is null.
        missing = {"shares"} if each.connection.platform == "youtube" else set()
        metrics = {
            name: None if name in missing else _pseudo_random(post.id, each.connection.id, name) for name in METRICS
        }
        platforms[each.connection.platform] = {
            "platform": each.connection.platform,
            "platform_post_id": each.platform_post_id,
            "post_url": each.post_url,
            "metrics": metrics,
            "raw_metrics": {f"{name}Count": value for name, value in metrics.items()},
        }
    return {
        "analytics": {
            "status": "success" if platforms else None,
            "totals": {name: _total([each["metrics"][name] for each in platforms.values()]) for name in METRICS},
            "platforms": list(platforms.values()),
            "metadata": {},
        },
        "stats": {},
    }


def _total(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def comments(post: Post, destinations: list[Destination], count: int) -> dict[str, Comment]:
    """
    Return the comments of a post by id, oldest first.

    Lists return them in reverse: newest first, those without a time last, ties by platform and id.
    """
    found: list[Comment] = []
    for each in destinations:
        if each.comments_disabled and each.connection.platform == "linkedin":
            # LinkedIn deletes existing comments when they are disabled.
            continue
        found += [_comment(post, each, index) for index in range(count)]
    found.sort(key=lambda each: (each.platform, each.id, each.platform_comment_id), reverse=True)
    found.sort(key=lambda each: each.created_at.timestamp() if each.created_at else float("-inf"))
    return {
        each.id: Comment(
            number, each.id, each.platform, each.platform_comment_id, each.text, each.created_at, each.replies
        )
        for number, each in enumerate(found, 1)
    }


def _comment(post: Post, destination: Destination, index: int) -> Comment:
    platform, account = destination.connection.platform, destination.connection.id
    name = f"{post.id}-{account}-{index}"
    moment = post.updated_at + timedelta(minutes=index)
    reply = Comment(
        0, f"{name}-0", platform, f"{platform}_{_pseudo_random(name, 0)}", "So do I", moment + timedelta(minutes=1)
    )
    return Comment(
        number=0,
        id=name,
        platform=platform,
        platform_comment_id=f"{platform}_{_pseudo_random(name)}",
        text=f"Comment {index + 1}",
        # The third comment of each destination has no time.
        created_at=None if index == 2 else moment,
        replies=(reply,) if index == 0 else (),
    )
