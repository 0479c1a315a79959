"""What can be uploaded, by the suffixes of files."""

from __future__ import annotations

import enum
from pathlib import PurePosixPath

from airflow_provider_mosaic.api.arguments import refuse


class AssetType(str, enum.Enum):
    """What can be uploaded."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"


#: The documented formats, by suffix, with the media type of the form's file part.
MEDIA_TYPES: dict[AssetType, dict[str, str]] = {
    AssetType.VIDEO: {
        ".mp4": "video/mp4",
        ".mov": "video/quicktime",
        ".avi": "video/x-msvideo",
        ".webm": "video/webm",
        ".mkv": "video/x-matroska",
        ".m4v": "video/x-m4v",
    },
    AssetType.AUDIO: {
        ".mp3": "audio/mpeg",
        ".wav": "audio/wav",
        ".m4a": "audio/mp4",
        ".flac": "audio/flac",
        ".ogg": "audio/ogg",
        ".aac": "audio/aac",
        ".opus": "audio/opus",
    },
    AssetType.IMAGE: {
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".jpeg": "image/jpeg",
        ".gif": "image/gif",
        ".webp": "image/webp",
        ".svg": "image/svg+xml",
    },
}


def media_type_of(name: str, asset_type: AssetType | None = None) -> tuple[AssetType, str]:
    """
    What kind of asset a file is, and its media type, from its suffix.

    :param name: The file's name.
    :param asset_type: The kind that it is meant to be; None to take it from the suffix.
    :raises MosaicValidationError: The suffix is none that Mosaic takes.
    """
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    kinds = [asset_type] if asset_type else list(AssetType)
    for kind in kinds:
        if suffix in MEDIA_TYPES[kind]:
            return kind, MEDIA_TYPES[kind][suffix]
    taken = ", ".join(sorted(s for kind in kinds for s in MEDIA_TYPES[kind]))
    meant = f" as {asset_type.value}" if asset_type else ""
    refuse("source", name, f"Mosaic does not take {suffix or 'a file without a suffix'}{meant}; it takes {taken}.")
