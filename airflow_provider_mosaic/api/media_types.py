"""Media types and the suffixes of file names. A server's file name only ever contributes a known suffix."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import PurePosixPath

from airflow_provider_mosaic.api.arguments import raise_invalid


class AssetType(str, enum.Enum):
    """Type of an uploaded asset."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"


#: Documented formats: suffix and media type.
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

#: Further media types with their suffixes. They are not read from the machine, so that a retry on another worker finds
#: the same.
_MORE = {
    "video/mpeg": ".mpg .mpeg",
    "video/mp2t": ".ts .mts .m2ts",
    "application/mxf": ".mxf",
    "video/x-ms-wmv": ".wmv",
    "video/x-flv": ".flv",
    "video/ogg": ".ogv",
    "video/3gpp": ".3gp",
    "video/3gpp2": ".3g2",
    "audio/aiff": ".aiff .aif",
    "audio/x-ms-wma": ".wma",
    "audio/amr": ".amr",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff .tif",
    "application/zip": ".zip",
    "application/json": ".json",
    "application/xml": ".xml",
    "application/pdf": ".pdf",
    "application/x-subrip": ".srt",
    "text/vtt": ".vtt",
}
#: Other names of media types, by suffix.
_ALIASES = {
    ".aac": "audio/aacp audio/x-aac",
    ".aiff": "audio/x-aiff",
    ".avi": "video/avi video/msvideo video/vnd.avi",
    ".flac": "audio/x-flac",
    ".jpg": "image/jpg image/pjpeg",
    ".m4a": "audio/m4a audio/x-m4a",
    ".m4v": "video/m4v",
    ".mkv": "application/x-matroska video/matroska",
    ".mp3": "audio/mp3 audio/x-mp3",
    ".mp4": "application/mp4",
    ".mpg": "video/x-mpeg",
    ".ogg": "application/ogg",
    ".png": "image/x-png",
    ".wav": "audio/vnd.wave audio/wave audio/x-wav",
    ".webm": "audio/webm",
    ".xml": "text/xml",
    ".zip": "application/x-zip-compressed",
}
_TYPES = {
    **{suffix: media for kind in MEDIA_TYPES.values() for suffix, media in kind.items()},
    **{suffix: media for media, suffixes in _MORE.items() for suffix in suffixes.split()},
}
_SUFFIXES = {
    **{media: suffix for suffix, media in reversed(_TYPES.items())},
    **{media: suffix for suffix, names in _ALIASES.items() for media in names.split()},
}
_KIND_OF_SUFFIX = {suffix: media.partition("/")[0] for suffix, media in _TYPES.items()} | {".mxf": "video"}
_PLAYLISTS = frozenset(
    {
        "application/vnd.apple.mpegurl", "application/x-mpegurl", "application/mpegurl", "audio/mpegurl",
        "audio/x-mpegurl", "application/dash+xml", "application/vnd.ms-sstr+xml",
    }
)  # fmt: skip
_PLAYLIST_SUFFIXES = frozenset({".m3u8", ".m3u", ".mpd", ".ism", ".ismc"})
#: Media types that say nothing about the format.
_VAGUE = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
#: Suffix of a file when only its kind is known: the formats that Mosaic's tiles are documented to produce.
USUAL_SUFFIX = {"video": ".mp4", "image": ".png", "audio": ".mp3"}


def media_type_of(name: str, asset_type: AssetType | None = None) -> tuple[AssetType, str]:
    """
    Return the asset type and the media type of a file.

    :raises MosaicValidationError: There is no ``asset_type``, and Mosaic does not document the suffix.
    """
    suffix = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    for kind in [asset_type] if asset_type else list(AssetType):
        if suffix in MEDIA_TYPES[kind]:
            return kind, MEDIA_TYPES[kind][suffix]
    if asset_type:
        return asset_type, media_type_of_suffix(name) or "application/octet-stream"
    documented = ", ".join(sorted(suffix for kind in MEDIA_TYPES.values() for suffix in kind))
    raise_invalid(
        "source",
        name,
        f"the asset type is unknown for {suffix or 'a name without a suffix'}. Nothing was sent. Set asset_type to "
        f"video, audio or image. Mosaic documents these formats: {documented}.",
    )


def media_type_of_suffix(name: str) -> str:
    """Return the media type for the suffix of a file name; empty if it is unknown."""
    return _TYPES.get(_suffix(name), "")


def suffix_of_type(media_type: str) -> str:
    """Return the suffix for a media type in lower case and without parameters; empty if it is unknown."""
    return _SUFFIXES.get(media_type, "")


def kind_of_suffix(suffix: str) -> str:
    """Return the main type (``video``, ``audio``, ``image``) for a suffix in lower case; empty if it is unknown."""
    return _KIND_OF_SUFFIX.get(suffix, "")


def suffix_for(media_type: str, names: Iterable[str]) -> str:
    """
    Return the suffix for a file of a server; empty if it is unknown.

    The media type decides. If its suffix is unknown, the first name with a known suffix of that kind decides.

    :param names: Names of the file, the most reliable first.
    """
    known = suffix_of_type(media_type)
    if known:
        return known
    main = media_type.partition("/")[0]
    for name in names:
        suffix = _suffix(name)
        if suffix in _TYPES and (main not in USUAL_SUFFIX or main == _KIND_OF_SUFFIX[suffix]):
            return suffix
    return USUAL_SUFFIX.get(main, "")


def is_playlist(media_type: str, names: Iterable[str]) -> bool:
    """
    Return whether a file is a playlist (HLS, DASH) instead of a video.

    :param names: Names of the file. They decide if the media type says nothing.
    """
    vague = media_type in _VAGUE or media_type.endswith("/xml")
    return media_type in _PLAYLISTS or (vague and any(_suffix(name) in _PLAYLIST_SUFFIXES for name in names))


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()
