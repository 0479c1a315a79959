"""Uploads: reserved ids, their signed forms, and the resulting assets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from mosaic_emulator.catalogue import ORGANIZATION_ID, WORKSPACE_ID
from mosaic_emulator.core.clock import Clock
from mosaic_emulator.media import UPLOAD_BUCKET, MediaStore, StoredObject
from mosaic_emulator.settings import Settings

MAX_FILE_SIZE: Final = {"video": 5368709120, "audio": 524288000, "image": 52428800}
SUFFIXES: Final = {"video": ".mp4", "audio": ".mp3", "image": ".png"}


@dataclass
class Upload:
    """One reserved asset and its stored file."""

    id: str
    type: str
    key: str
    fields: dict[str, str]
    max_file_size: int
    #: ``time.time()``, not affected by ``clock_skew``.
    expires_at: float
    media: StoredObject | None = None
    #: Received bytes, also with ``discard_uploads``.
    size: int | None = None
    file_name: str | None = None
    finalized: bool = False
    workspace_id: str = WORKSPACE_ID

    @property
    def expired(self) -> bool:
        """Whether the form has expired."""
        return time.time() > self.expires_at

    @property
    def is_stored(self) -> bool:
        """Whether the file was received."""
        return self.size is not None

    def as_json(self) -> dict[str, Any]:
        """Return the upload for the control interface."""
        return {
            "id": self.id,
            "type": self.type,
            "key": self.key,
            "stored": self.is_stored,
            "size": self.size,
            "file_name": self.file_name,
            "finalized": self.finalized,
            "expired": self.expired,
            "path": str(self.media.path) if self.media else None,
        }


class UploadStore:
    """All uploads. Used by the API's event loop and by the storage host's threads."""

    def __init__(self, *, settings: Settings, clock: Clock, media: MediaStore) -> None:
        self._settings = settings
        self._clock = clock
        self._media = media
        self._lock = threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._by_id: dict[str, Upload] = {}
        self._by_key: dict[str, Upload] = {}

    def reserve(self, asset_type: str, workspace_id: str = WORKSPACE_ID) -> Upload:
        """Reserve an asset id and create its form."""
        plain = str(uuid.uuid4())
        asset_id = f"img-{plain}" if asset_type == "image" else plain
        key = f"org/{ORGANIZATION_ID[:8]}/uploads/{plain}"
        limit = self._settings.max_file_size
        size = MAX_FILE_SIZE[asset_type] if limit is None else limit
        seconds = self._settings.upload_seconds
        now = self._clock.now()
        date = now.strftime("%Y%m%dT%H%M%SZ")
        credential = f"emulator@example.iam.gserviceaccount.com/{date[:8]}/auto/storage/goog4_request"
        policy = {
            "expiration": (now + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [
                {"bucket": UPLOAD_BUCKET},
                ["eq", "$key", key],
                ["content-length-range", 0, size],
                {"x-goog-date": date},
                {"x-goog-credential": credential},
                {"x-goog-algorithm": "GOOG4-RSA-SHA256"},
            ],
        }
        encoded = base64.b64encode(json.dumps(policy).encode()).decode()
        fields = {
            "key": key,
            "x-goog-date": date,
            "x-goog-credential": credential,
            "x-goog-algorithm": "GOOG4-RSA-SHA256",
            "policy": encoded,
            "x-goog-signature": self._settings.signature_mark
            + hmac.new(self._secret, encoded.encode(), hashlib.sha256).hexdigest(),
        }
        upload = Upload(
            id=asset_id,
            type=asset_type,
            key=key,
            fields=fields,
            max_file_size=size,
            expires_at=time.time() + seconds,
            workspace_id=workspace_id,
        )
        with self._lock:
            self._by_id[asset_id] = upload
            self._by_key[key] = upload
        return upload

    def add_generated(self, asset_id: str, asset_type: str, media: StoredObject, workspace_id: str) -> None:
        """Add an asset that a tile generated."""
        upload = Upload(
            id=asset_id,
            type=asset_type,
            key="",
            fields={},
            max_file_size=MAX_FILE_SIZE[asset_type],
            expires_at=time.time(),
            media=media,
            size=media.size,
            file_name=f"generated{media.path.suffix}",
            finalized=True,
            workspace_id=workspace_id,
        )
        with self._lock:
            self._by_id[asset_id] = upload

    def by_key(self, key: str) -> Upload | None:
        """Return the upload with this form key."""
        with self._lock:
            return self._by_key.get(key)

    def get(self, asset_id: str, asset_type: str | None = None) -> Upload | None:
        """Return the upload with this asset id, and of this type if given."""
        with self._lock:
            upload = self._by_id.get(asset_id)
        return upload if upload is not None and asset_type in (None, upload.type) else None

    def all(self) -> list[Upload]:
        """Return all uploads, oldest first."""
        with self._lock:
            return list(self._by_id.values())

    def reset(self) -> None:
        """Remove all uploads."""
        with self._lock:
            self._by_id.clear()
            self._by_key.clear()
