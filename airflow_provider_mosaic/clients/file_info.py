"""Read the headers of a response that has a file in its body."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import requests

from airflow_provider_mosaic.api.media_types import is_playlist
from airflow_provider_mosaic.api.redaction import label, one_line
from airflow_provider_mosaic.clients.signed_urls import response_secrets

_WEB_PAGES = frozenset({"text/html", "application/xhtml+xml"})
#: Documents that report an error, unless the name of the file has a suffix of theirs.
_DOCUMENTS = frozenset({"application/json", "application/problem+json", "application/xml", "text/xml"})
_DOCUMENT_SUFFIXES = (".json", ".xml")
# Some S3 clients leave "aws-chunked" as the encoding of an object. Its bytes are not compressed.
_NOT_COMPRESSED = frozenset({"", "identity", "aws-chunked"})
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "br", "zstd"})
# Python's parser needs seconds for 60,000 quotes and semicolons.
_MAX_DISPOSITION = 4096
# Python rejects numbers of thousands of digits.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """
    What a response reports about its file.

    :param size: Bytes of the file; None if unknown.
    :param media_type: Media type in lower case, without parameters; empty if unknown.
    :param file_name: The name in ``Content-Disposition``; empty without one.
    :param etag: A strong validator; empty without one.
    :param modified: ``Last-Modified``, verbatim; empty without one.
    :param start: The first byte of the file that the response contains.
    :param delimited: Whether the response marks the end of its body. Otherwise a connection error looks like the end.
    :param page: Whether it is a web page instead of a file.
    :param document: Whether it is a JSON or XML document instead of a file, as some hosts send with a 200 for an error.
    :param playlist: Whether it is a streaming playlist (HLS, DASH) instead of a file.
    :param encoded: How the body is compressed; empty if it is not.
    :param names: Possible names of the file, the best one first.
    """

    size: int | None
    media_type: str = ""
    file_name: str = ""
    etag: str = field(default="", repr=False)
    modified: str = field(default="", repr=False)
    start: int = 0
    delimited: bool = True
    page: bool = False
    document: bool = False
    playlist: bool = False
    encoded: str = ""
    names: tuple[str, ...] = ()


def file_info(response: requests.Response) -> FileInfo:
    """Read the headers of a 200 or 206."""
    headers = response.headers
    disposition = Message()
    disposition["content-disposition"] = headers.get("content-disposition", "")[:_MAX_DISPOSITION]
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    etag = headers.get("etag", "").strip()
    encoding = headers.get("content-encoding", "").strip().lower()
    is_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    length = headers.get("content-length", "").strip()
    has_length = _LENGTH.fullmatch(length) is not None
    size: int | None = int(length) if has_length and not is_chunked else None
    start = 0
    if response.status_code == 206:
        content_range = _CONTENT_RANGE.match(headers.get("content-range", ""))
        start = int(content_range[1]) if content_range else 0
        size = int(content_range[3]) if content_range and content_range[3] != "*" else None
    file_name = _base_name(one_line(disposition.get_filename() or "", response_secrets(response)))
    first = response.history[0] if response.history else response
    possible_names = (file_name_of(first.url or ""), file_name, file_name_of(response.url or ""))
    names = tuple(dict.fromkeys(name for name in possible_names if name))
    return FileInfo(
        size=size,
        media_type=media_type,
        file_name=file_name,
        # A weak validator does not promise that the bytes are the same.
        etag=etag if etag.startswith('"') else "",
        modified=headers.get("last-modified", "").strip(),
        start=start,
        delimited=is_chunked or has_length,
        page=media_type in _WEB_PAGES,
        document=media_type in _DOCUMENTS and not any(name.lower().endswith(_DOCUMENT_SUFFIXES) for name in names),
        playlist=is_playlist(media_type, names),
        encoded="" if encoding in _NOT_COMPRESSED else encoding if encoding in _ENCODINGS else "unknown",
        names=names,
    )


def file_name_of(url: str) -> str:
    """Return the last part of a URL's path; empty without one."""
    return _base_name(unquote(urlsplit(url).path.partition(";")[0]))


def _base_name(path: str) -> str:
    return label(PurePosixPath(path.replace("\\", "/")).name)


def starts_playlist(block: bytes) -> bool:
    """Return whether the first bytes of a file are those of a streaming playlist (HLS, DASH)."""
    head = block[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith((b"#EXTM3U", b"<MPD")) or (head.startswith(b"<?xml") and b"<MPD" in head)
