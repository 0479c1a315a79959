"""Responses of storage hosts and other web servers: the file in a body, or an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import requests

from airflow_provider_mosaic.api.errors import MosaicError, MosaicRateLimitError, MosaicServerError
from airflow_provider_mosaic.api.media_types import is_playlist, suffix_for
from airflow_provider_mosaic.api.redaction import label, one_line
from airflow_provider_mosaic.api.responses import Response, explanation, is_web_page, unescaped
from airflow_provider_mosaic.clients.signed_urls import TRANSFER_ERRORS, response_secrets
from airflow_provider_mosaic.clients.stall_timeout import is_chunked, time_limit

# Files

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
    secrets = response_secrets(response)
    media_type = one_line(_media_type(headers), secrets)
    etag = headers.get("etag", "").strip()
    has_chunks = is_chunked(headers.get("transfer-encoding", ""))
    length = headers.get("content-length", "").strip()
    has_length = _LENGTH.fullmatch(length) is not None
    size: int | None = int(length) if has_length and not has_chunks else None
    start = 0
    if response.status_code == 206:
        content_range = _CONTENT_RANGE.match(headers.get("content-range", ""))
        start = int(content_range[1]) if content_range else 0
        size = int(content_range[3]) if content_range and content_range[3] != "*" else None
    try:
        given_name = disposition.get_filename() or ""
    except (ValueError, TypeError):
        # Its character set is one that Python knows and that cannot decode it, or its parts are not numbered.
        given_name = ""
    file_name = _base_name(one_line(given_name, secrets), given_name)
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
        problem=_problem(headers, media_type, names, has_end=has_chunks or has_length),
        names=names,
    )


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
        return f"sent it compressed ({name}) without a request for that"
    # Only chunks are decoded.
    transfer_encoding = headers.get("transfer-encoding", "")
    if transfer_encoding.strip().lower() not in ("", "identity") and not is_chunked(transfer_encoding):
        return "sent it in a transfer encoding that was not requested"
    # A connection error would look like the end.
    return "" if has_end else "sent it without its length, so that its end is unknown"


def file_name_of(url: str) -> str:
    """Return the last part of a URL's path; empty without one."""
    path = unquote(urlsplit(url).path.partition(";")[0])
    return _base_name(path, path)


def _base_name(shown: str, path: str) -> str:
    """Return the last part of a path that may be masked, with the path's known suffix: it decides the format."""
    name, suffix = label(PurePosixPath(shown.replace("\\", "/")).name), suffix_for("", [path])
    return name if name.lower().endswith(suffix) else name + suffix


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


# Errors: the XML of Google Cloud Storage and S3, or JSON, reduced to code and message

_MAX_BYTES = 64 * 1024
_READ_TIME_LIMIT = 30.0
_MAX_MESSAGE = 300
# S3 returns 400 with RequestTimeout after a transfer that was too slow.
_SERVER_ERRORS = frozenset({"RequestTimeout", "InternalError", "ServiceUnavailable", "SlowDown"})
# Not an XML parser: the body is untrusted and may be cut off, and two texts are enough.
_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,64})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


@dataclass(frozen=True, kw_only=True)
class ErrorResponse:
    """
    An error response.

    :param code: The host's code, for example ``EntityTooLarge``; ``error`` for an error in JSON; empty without one.
    :param is_web_page: Whether the body is an HTML page.
    """

    status: int
    code: str = ""
    message: str = ""
    retry_after: float | None = None
    is_web_page: bool = False

    @property
    def detail(self) -> str:
        """Code and message."""
        return ": ".join(part for part in (self.code, self.message) if part)

    @property
    def transient_kind(self) -> type[MosaicError] | None:
        """The class of its error if a retry may succeed; None otherwise."""
        if self.status == 429:
            return MosaicRateLimitError
        is_server_error = self.status >= 500 or self.status in (408, 425, 460, 499) or self.code in _SERVER_ERRORS
        return MosaicServerError if is_server_error else None

    def __str__(self) -> str:
        return f"{self.status} ({self.detail})" if self.detail else str(self.status)


def read_error_response(response: requests.Response, secrets: Iterable[str] = ()) -> ErrorResponse:
    """
    Read an error response. Without a readable body it has only its status.

    :param secrets: Values of the request to mask, besides those of its URL.
    """
    masked = (*secrets, *response_secrets(response))
    body = b""
    # Not decompressed: 1 KB may become 1 GB.
    with suppress(*TRANSFER_ERRORS), time_limit(_READ_TIME_LIMIT):
        body = response.raw.read(_MAX_BYTES, decode_content=False)
    text = body.decode("utf-8", "replace")
    reply = Response(response.status_code, response.headers, body)
    json_error = _json_error(reply, masked)
    return ErrorResponse(
        status=reply.status,
        code="error" if json_error else _first_match(_CODE, text, masked),
        message=json_error or _first_match(_MESSAGE, text, masked),
        retry_after=reply.retry_after(),
        is_web_page=is_web_page(reply) or _claims_web_page(reply),
    )


def _claims_web_page(response: Response) -> bool:
    """Return whether a body has the media type of a web page, and is no response to an upload."""
    content = response.content.strip()
    return bool(content) and _media_type(response.headers) in _WEB_PAGES and b"PostResponse" not in content


def _json_error(response: Response, secrets: tuple[str, ...]) -> str:
    """Return the error that a JSON object reports; empty if it reports none."""
    try:
        data = response.json()
    except ValueError:
        return ""
    is_error = isinstance(data, dict) and (data.get("error") or data.get("errors") or data.get("success") is False)
    return (explanation(data, secrets) or "") if is_error else ""


def _first_match(pattern: re.Pattern[str], text: str, secrets: tuple[str, ...]) -> str:
    match = pattern.search(text)
    return one_line(" ".join(unescaped(match[1]).split()), secrets, longest=_MAX_MESSAGE) if match else ""
