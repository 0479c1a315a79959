"""Storage triggers: watched folders, their events, batches and items."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from mosaic_emulator.catalogue import DEFAULT_AGENT_ID, TWO_BRANCH_AGENT_ID
from mosaic_emulator.core.clock import Clock

DRIVE_TRIGGER_ID: Final = "d0000000-0000-4000-8000-000000000001"
BUCKET_TRIGGER_ID: Final = "d0000000-0000-4000-8000-000000000002"
DRIVE_FOLDER: Final = "1EmulatedDriveFolderA"
DELETED_FOLDER: Final = "1EmulatedDriveFolderB"
BATCH_KEY: Final = "recordings/2026-06-01/"
PRODUCTION_ID: Final = "production-1"


@dataclass
class StorageRecord:
    """A storage trigger, folder, event, batch or item."""

    number: int
    id: str
    created_at: datetime
    updated_at: datetime
    #: Fields in responses.
    data: dict[str, Any]
    #: Id of the trigger, or for an item of the batch.
    owner: str = ""
    #: Fields for filters that are not in responses.
    hidden: dict[str, Any] = field(default_factory=dict)


class StorageEvents:
    """All records by kind, oldest first."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Reset to the initial records. Some of them are failures."""
        self._numbers = itertools.count(1)
        self.triggers: dict[str, StorageRecord] = {}
        self.folders: dict[str, StorageRecord] = {}
        self.events: dict[str, StorageRecord] = {}
        self.batches: dict[str, StorageRecord] = {}
        self.items: dict[str, StorageRecord] = {}
        self._seed()

    def as_json(self, record: StorageRecord) -> dict[str, Any]:
        """Return a record."""
        return {
            "id": record.id,
            **{
                name: self._clock.text(value) if isinstance(value, datetime) else value
                for name, value in record.data.items()
            },
            "created_at": self._clock.text(record.created_at),
            "updated_at": self._clock.text(record.updated_at),
        }

    def folder_of(self, trigger_id: str) -> str | None:
        """Return the id of the folder that a trigger watches. Buckets have none."""
        for each in self.folders.values():
            if each.owner == trigger_id and each.data["is_active"]:
                return str(each.data["watcher"]["folder_id"])
        return None

    def add_files(self, trigger_id: str, names: list[str]) -> StorageRecord:
        """Add new files: one event per file, and an open batch."""
        batch = self._batch(trigger_id, "open", names, age=timedelta())
        for folder in self.folders.values():
            if folder.owner == trigger_id and folder.data["is_active"]:
                folder.data["last_event_at"] = folder.updated_at = batch.created_at
        return batch

    def _seed(self) -> None:
        hour = timedelta(hours=1)
        self._trigger(
            DRIVE_TRIGGER_ID, DEFAULT_AGENT_ID, "google_drive", {"folder_id": DRIVE_FOLDER}, "My Drive / Recordings"
        )
        self._trigger(
            BUCKET_TRIGGER_ID, TWO_BRANCH_AGENT_ID, "s3", {"bucket": "emulated-films", "prefix": "recordings/"}, None
        )
        self._folder(DRIVE_TRIGGER_ID, DRIVE_FOLDER, active=True, error=None)
        self._folder(DRIVE_TRIGGER_ID, DELETED_FOLDER, active=False, error="The folder is no longer shared")
        self._batch(DRIVE_TRIGGER_ID, "failed", ["a.mp4"], error="The file could not be read", age=48 * hour)
        self._batch(DRIVE_TRIGGER_ID, "open", ["b.mp4", "c.mp4"], age=2 * hour)
        self._batch(BUCKET_TRIGGER_ID, "open", ["d.mp4"], age=hour)
        # An event whose routing failed has no batch.
        self._event(DRIVE_TRIGGER_ID, "notes.txt", [], self._clock.now() - hour, error="Not a video")

    def _record(
        self, kind: dict[str, StorageRecord], moment: datetime, data: dict[str, Any], owner: str, **hidden: Any
    ) -> StorageRecord:
        record_id = hidden.pop("record_id", None) or str(uuid.uuid4())
        record = StorageRecord(next(self._numbers), record_id, moment, moment, data, owner, hidden)
        kind[record.id] = record
        return record

    def _trigger(self, trigger_id: str, agent_id: str, provider: str, root: dict[str, Any], path: str | None) -> None:
        data = {"agent_id": agent_id, "provider": provider, "root": root, "selected_folder_display_path": path}
        self._record(self.triggers, self._clock.now() - timedelta(days=30), data, "", record_id=trigger_id)

    def _folder(self, trigger_id: str, folder_id: str, *, active: bool, error: str | None) -> None:
        moment = self._clock.now() - timedelta(days=30)
        data = {
            "watcher": {"folder_id": folder_id, "status": "watching" if active else "stopped"},
            "is_active": active,
            "last_error": error,
            "last_event_at": self._clock.now() - timedelta(hours=1) if active else None,
            "deleted_at": None if active else moment + timedelta(days=1),
        }
        self._record(self.folders, moment, data, trigger_id)

    def _event(
        self, trigger_id: str, name: str, batch_ids: list[str], moment: datetime, error: str | None = None
    ) -> StorageRecord:
        data = {
            "trigger_id": trigger_id,
            "type": "file_added",
            "file_name": name,
            "status": "failed" if error else "routed",
            "error_message": error,
            "batch_ids": batch_ids,
        }
        return self._record(self.events, moment, data, trigger_id)

    def _batch(
        self,
        trigger_id: str,
        stage: str,
        names: list[str],
        *,
        age: timedelta,
        error: str | None = None,
    ) -> StorageRecord:
        moment = self._clock.now() - age
        in_bucket = self.triggers[trigger_id].data["provider"] == "s3"
        data = {
            "trigger_id": trigger_id,
            "agent_id": self.triggers[trigger_id].data["agent_id"],
            "agent_state_id": None,
            "stage": stage,
            "folder_id": None if in_bucket else self.folder_of(trigger_id),
            "batch_key": BATCH_KEY if in_bucket else None,
            "last_error": error,
            "error_message": error,
        }
        batch = self._record(self.batches, moment, data, trigger_id, production_id=PRODUCTION_ID if in_bucket else None)
        for name in names:
            event = self._event(trigger_id, name, [batch.id], moment)
            item = {"batch_id": batch.id, "event_id": event.id, "file_name": name, "media_type": "video"}
            self._record(self.items, moment, item, batch.id)
        return batch
