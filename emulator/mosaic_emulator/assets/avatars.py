"""Avatar profiles and their processing."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from mosaic_emulator.core.background import BackgroundTasks
from mosaic_emulator.media import SAMPLE_VIDEO, MediaStore, StoredObject
from mosaic_emulator.settings import Settings


@dataclass
class AvatarProfile:
    """One profile."""

    name: str
    preview: StoredObject | None = None
    status: str = "pending"
    message: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_monotonic: float = field(default_factory=time.monotonic)
    #: Set when the profile is ready or failed.
    is_final: asyncio.Event = field(default_factory=asyncio.Event)


class AvatarProfiles:
    """All avatar profiles. Processes each in a task."""

    def __init__(self, *, settings: Settings, media: MediaStore) -> None:
        self._settings = settings
        self._media = media
        self.tasks = BackgroundTasks()
        self.profiles: dict[str, AvatarProfile] = {}

    def add(self, profile: AvatarProfile) -> None:
        """Add a profile and start processing it."""
        self.profiles[profile.id] = profile
        self.tasks.start(profile.id, self._process(profile))

    def reset(self) -> None:
        """Remove all profiles."""
        self.tasks.cancel_all()
        self.profiles.clear()

    async def wait_until_ready(self, profile_id: str) -> str | None:
        """
        Wait until a profile is processed.

        :returns: The error message, or None if the profile is ready.
        """
        profile = self.profiles.get(profile_id)
        if profile is None:
            return "Avatar profile could not be found"
        await profile.is_final.wait()
        return f"The avatar profile failed: {profile.message}" if profile.status == "failed" else None

    def as_json(self, profile: AvatarProfile) -> dict[str, Any]:
        """Return a profile with a fresh link to its preview."""
        link = self._media.link(profile.preview.name, self._settings.view_seconds) if profile.preview else None
        return {
            "id": profile.id,
            "name": profile.name,
            self._settings.avatar_status_key: profile.status,
            "status_message": profile.message,
            "video_preview_url": link,
        }

    async def _process(self, profile: AvatarProfile) -> None:
        await self._wait()
        profile.status = "processing"
        await self._wait()
        await self.tasks.wait_while(lambda: self._settings.hold_avatars)
        profile.message = self._settings.failing_avatars.get(profile.name)
        profile.status = "failed" if profile.message is not None else "ready"
        if profile.status == "ready" and profile.preview is None:
            profile.preview = self._media.put(f"avatars/{profile.id}.mp4", SAMPLE_VIDEO, "video/mp4")
        profile.is_final.set()

    async def _wait(self) -> None:
        await asyncio.sleep(self._settings.avatar_seconds / 2 / self._settings.speed)
