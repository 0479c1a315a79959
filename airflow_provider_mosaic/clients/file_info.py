"""Read the headers of a response that has a file in its body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import requests

from airflow_provider_mosaic.api.media_types import is_playlist
from airflow_provider_mosaic.api.redaction import label, one_line
from airflow_provider_mosaic.clients.signed_urls import response_secrets

WEB_PAGE = "returned an HTML page, as a proxy or a login page does"
PLAYLIST = "sent a streaming playlist (HLS or DASH), which lists the segments of a video and contains none"
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
#: The start of a JSON object whose first field is one of an error.
_JSON_ERROR = re.compile(rb'\{\s*"(?:error|errors|detail|message|msg|code|status|success)"\s*:')
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
    :param problem: Why it can't be saved as a file, as it follows "the host"; empty if it can.
    :param names: Possible names of the file, the best one first.
    """

    size: int | None
    media_type: str = ""
    file_name: str = ""
    etag: str = field(default="", repr=False)
    modified: str = field(default="", repr=False)
    start: int = 0
    problem: str = ""
    names: tuple[str, ...] = ()


def file_info(response: requests.Response) -> FileInfo:
    """Read the headers of a 200 or 206."""
    headers = response.headers
    disposition = Message()
    disposition["content-disposition"] = headers.get("content-disposition", "")[:_MAX_DISPOSITION]
    media_type = _media_type(headers)
    etag = headers.get("etag", "").strip()
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
        problem=_problem(headers, media_type, names, has_end=is_chunked or has_length),
        names=names,
    )


def is_web_page(response: requests.Response) -> bool:
    """Return whether a response has a web page instead of a file."""
    return _media_type(response.headers) in _WEB_PAGES


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _problem(headers: Mapping[str, str], media_type: str, names: Sequence[str], *, has_end: bool) -> str:
    if media_type in _WEB_PAGES:
        return WEB_PAGE
    if is_playlist(media_type, names):
        return PLAYLIST
    if media_type in _DOCUMENTS and not any(name.lower().endswith(_DOCUMENT_SUFFIXES) for name in names):
        return f"sent {media_type}, as for an error, and no file"
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _NOT_COMPRESSED:
        name = encoding if encoding in _ENCODINGS else "unknown"
        return f"sent it compressed ({name}) without being asked"
    # A connection error would look like the end.
    return "" if has_end else "sent it without its length, so that its end is unknown"


def file_name_of(url: str) -> str:
    """Return the last part of a URL's path; empty without one."""
    return _base_name(unquote(urlsplit(url).path.partition(";")[0]))


def _base_name(path: str) -> str:
    return label(PurePosixPath(path.replace("\\", "/")).name)


def problem_of_content(block: bytes) -> str:
    """
    Return why the first bytes of a body are no file, although its headers may say so; empty if they may be one.

    Storage hosts and proxies also send an error with the status and the media type of the file.
    """
    head = block[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    is_xml = head.startswith(b"<?xml")
    if head.startswith((b"#EXTM3U", b"<MPD")) or (is_xml and b"<MPD" in head):
        return PLAYLIST
    if head[:14].lower().startswith((b"<!doctype html", b"<html")):
        return WEB_PAGE
    if head.startswith(b"<Error>") or (is_xml and b"<Error>" in head) or _JSON_ERROR.match(head):
        return "sent the text of an error, and no file"
    return ""
