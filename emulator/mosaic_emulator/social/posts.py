"""Social posts and their publishing, immediately or on schedule."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mosaic_emulator.catalogue import WORKSPACE_ID, Connection
from mosaic_emulator.core.background import BackgroundTasks
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.settings import Settings

POST_STATUSES: Final = (
    "scheduled",
    "pending_approval",
    "processing",
    "posted",
    "partial_failure",
    "failed",
    "rejected",
)


@dataclass
class Destination:
    """A social connection that a post is published to, and the result."""

    connection: Connection
    status: str = "pending"
    platform_post_id: str | None = None
    post_url: str | None = None
    error: str | None = None
    comments_disabled: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the destination as in a post."""
        return {
            **self.connection.as_json(),
            "status": self.status,
            "platform_post_id": self.platform_post_id,
            "post_url": self.post_url,
            "error": self.error,
        }


@dataclass
class Post:
    """A social post."""

    number: int
    text: str
    destinations: list[Destination]
    media_urls: list[str]
    schedule: datetime | None
    created_at: datetime
    updated_at: datetime
    status: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_monotonic: float = field(default_factory=time.monotonic)
    #: How often the post was published. More than once would be a bug of the emulator.
    published: int = 0
    deleted: bool = False
    workspace_id: str = WORKSPACE_ID
    #: ``platform_options`` from PATCH requests, by connection.
    options: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def platforms(self) -> list[str]:
        """The distinct platforms of the destinations."""
        return list(dict.fromkeys(each.connection.platform for each in self.destinations))


def outcomes_2026_json(post: Post) -> dict[str, Any]:
    """Return the results of a post as the API did in early 2026: outside of the destinations."""
    settled = [each for each in post.destinations if each.status in ("posted", "failed")]
    return {
        "links": [
            {"platform": each.connection.platform, "post_url": each.post_url} for each in settled if each.post_url
        ],
        "results": [
            {
                "platform": each.connection.platform,
                "status": "success" if each.status == "posted" else "error",
                "post_id": each.platform_post_id,
                "post_url": each.post_url,
                "message": each.error,
            }
            for each in settled
        ],
    }


class PostPublisher:
    """Publishes each post in an asyncio task."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        is_media_expired: Callable[[str], bool],
        is_connected: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        #: Returns whether a URL of the storage host is invalid or expired.
        self._is_media_expired = is_media_expired
        #: Returns whether a connection id is connected.
        self._is_connected = is_connected
        self.tasks = BackgroundTasks()

    def add(self, post: Post) -> None:
        """Process a new post."""
        if post.status in ("scheduled", "processing"):
            self.tasks.start(post.id, self._process(post))

    def reschedule(self, post: Post, moment: datetime) -> None:
        """Change the schedule of a post."""
        post.schedule, post.updated_at = moment, self._clock.now()
        self.tasks.cancel(post.id)
        self.add(post)

    def set_approval(self, post: Post, *, approved: bool) -> None:
        """Approve or reject a post."""
        if not approved:
            self._set(post, "rejected")
            return
        self._set(post, "processing" if post.schedule is None else "scheduled")
        self.add(post)

    def delete(self, post: Post, destinations: list[Destination]) -> None:
        """Delete a post at some destinations. The post is rejected when none is left."""
        for each in destinations:
            each.status = "rejected"
        post.updated_at = self._clock.now()
        if all(each.status == "rejected" for each in post.destinations):
            self.tasks.cancel(post.id)
            post.deleted = True
            self._set(post, "rejected")

    async def _process(self, post: Post) -> None:
        if post.status == "scheduled" and post.schedule is not None:
            await self._wait_until(post.schedule)
            if post.status != "scheduled":
                return
            self._set(post, "processing")
        await asyncio.sleep(self._settings.post_seconds / self._settings.speed)
        await self.tasks.wait_while(lambda: self._settings.hold_posts)
        if post.status == "processing":
            self._publish(post)

    async def _wait_until(self, moment: datetime) -> None:
        # In steps, since clock_skew may change in between.
        left = (moment - self._clock.now()).total_seconds()
        if left > 0:
            await asyncio.sleep(min(left, 60.0))
            await self._wait_until(moment)

    def _publish(self, post: Post) -> None:
        post.published += 1
        failing = self._settings.failing_platforms
        media_expired = any(self._is_media_expired(url) for url in post.media_urls)
        remaining = [each for each in post.destinations if each.status != "rejected"]
        for each in remaining:
            message = failing.get(each.connection.id) or failing.get(each.connection.platform)
            if not self._is_connected(each.connection.id):
                message = message or "The account is no longer connected"
            if media_expired:
                message = message or "The media could not be downloaded"
            if message is not None:
                each.status, each.error = "failed", message
                continue
            platform_id = hashlib.sha256(f"{post.id} {each.connection.id}".encode()).hexdigest()[:11]
            each.status = "posted"
            each.platform_post_id = f"{each.connection.platform}_{platform_id}"
            each.post_url = f"https://{each.connection.platform}.example/{each.connection.username}/{platform_id}"
        failed = sum(each.status == "failed" for each in remaining)
        if failed == 0:
            self._set(post, "posted")
        else:
            self._set(post, "failed" if failed == len(remaining) else "partial_failure")

    def _set(self, post: Post, status: str) -> None:
        post.status = status
        post.updated_at = self._clock.now()
