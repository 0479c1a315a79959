"""Stored media: objects on disk, and signed links to them."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import secrets
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from mosaic_emulator.settings import Settings

BUCKET: Final = "mosaic-emulator-media"
UPLOAD_BUCKET: Final = "mosaic-emulator-uploads"
_SAMPLES: Final = Path(__file__).with_name("samples")
SAMPLE_VIDEO: Final = _SAMPLES / "sample.mp4"
SAMPLE_IMAGE: Final = _SAMPLES / "sample.jpg"
#: Samples to use instead of ffmpeg's output, by suffix.
SAMPLES: Final = {each: _SAMPLES / f"sample{each}" for each in (".png", ".jpg", ".webp", ".mp3")}
CONTENT_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".mp3": "audio/mpeg",
}


@dataclass(frozen=True)
class StoredObject:
    """An object of the storage host."""

    name: str
    path: Path
    content_type: str
    size: int

    @property
    def etag(self) -> str:
        """The entity tag of the object."""
        return f'"{hashlib.sha256(f"{self.name} {self.size}".encode()).hexdigest()[:32]}"'


class MediaStore:
    """Objects by name. A reset deletes their files."""

    def __init__(self, *, settings: Settings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._secret = secrets.token_bytes(32)
        self._serial = itertools.count(1)
        self._expired_before = 0.0
        #: URL of the storage host; set at the start.
        self.base_url = ""
        directory.mkdir(parents=True, exist_ok=True)

    def new_path(self, suffix: str = "") -> Path:
        """Return the path for a new file."""
        return self._directory / f"{uuid.uuid4().hex}{suffix}"

    def put(self, name: str, path: Path, content_type: str) -> StoredObject:
        """Store a written file as an object."""
        stored = StoredObject(name=name, path=path, content_type=content_type, size=path.stat().st_size)
        with self._lock:
            self._objects[name] = stored
        return stored

    def get(self, name: str) -> StoredObject | None:
        """Return the object with this name."""
        with self._lock:
            return self._objects.get(name)

    def reset(self) -> None:
        """Delete all objects."""
        with self._lock:
            self._objects.clear()
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._expired_before = 0.0

    def expire_links(self) -> None:
        """Expire all links created so far."""
        self._expired_before = time.time()

    def link(self, name: str, seconds: float) -> str:
        """
        Return a new signed link.

        :param name: The object's name.
        :param seconds: How long the link is valid.
        """
        path = f"/{BUCKET}/{quote(name)}"
        issued = time.time()
        query = {
            "X-Goog-Algorithm": "GOOG4-RSA-SHA256",
            "X-Goog-Credential": f"emulator/{next(self._serial)}/{issued:.6f}/{issued + seconds:.6f}",
            "X-Goog-Date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(issued)),
            "X-Goog-Expires": str(int(seconds)),
            "X-Goog-SignedHeaders": "host",
        }
        signature = self._signature(path, query)
        return f"{self.base_url}{path}?{urlencode(query)}&X-Goog-Signature={signature}"

    def check_link(self, path: str, query_string: str) -> str:
        """Return the state of a link: ``good``, ``expired``, ``bad`` (invalid signature) or ``unsigned``."""
        query = dict(parse_qsl(query_string, keep_blank_values=True))
        signature = query.pop("X-Goog-Signature", None)
        if signature is None:
            return "unsigned"
        if not hmac.compare_digest(signature, self._signature(path, query)):
            return "bad"
        _, _, issued, expires = query["X-Goog-Credential"].split("/")
        if time.time() > float(expires) or float(issued) <= self._expired_before:
            return "expired"
        return "good"

    def _signature(self, path: str, query: dict[str, str]) -> str:
        text = f"{path}?{urlencode(sorted(query.items()))}"
        return self._settings.signature_mark + hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
