"""
Links to files elsewhere: opened without any credential of ours, and shown without what signs them.

Redirects are followed by hand: requests would look into ``~/.netrc`` for a password for each host that it is sent to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_mosaic.api.access import USER_AGENT
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.media_types import is_playlist
from airflow_provider_mosaic.api.redaction import (
    MASK,
    label,
    link_secrets,
    looks_random,
    one_line,
    redact,
    remember_signed,
)
from airflow_provider_mosaic.clients.environment import proxy_secrets
from airflow_provider_mosaic.clients.library_logs import hiding
from airflow_provider_mosaic.clients.storage_session import ForbiddenLink
from airflow_provider_mosaic.clients.sync_client import FAULTS

#: What the HTTP libraries raise when the way is broken, while asking and while reading.
TRANSFER_ERRORS = (requests.RequestException, HTTPError, HTTPException, OSError)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_WEB_PAGES = frozenset({"text/html", "application/xhtml+xml"})
# Some S3 clients leave "aws-chunked" behind as an object's encoding; the bytes are plain.
_PLAIN = frozenset({"", "identity", "aws-chunked"})
_PARAMETERS = re.compile(r"[?#;].*", re.DOTALL)
_CODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "br", "zstd"})
_LONGEST_DISPOSITION = 4096
# Python refuses to read numbers of thousands of digits.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\s*$", re.IGNORECASE)


def shown(url: str) -> str:
    """
    A link as it may be shown: without its query, which signs it, a password, a fragment, and a token in its path.

    :param url: The link.
    """
    path = _PARAMETERS.sub("", url).partition("://")[2].partition("/")[2]
    parts = [MASK if may_be_token(part) else part for part in path.split("/")]
    return one_line("/".join([origin(url), *parts]), longest=500)


def may_be_token(part: str) -> bool:
    """
    Return whether a part of a path may be what opens it: long, without a suffix, and no words.

    :param part: What stands between two slashes.
    """
    return "." not in part and (len(part) >= 24 or looks_random(part))


def origin(url: str, secrets: Iterable[str] = ()) -> str:
    """
    Scheme and host of a link: all that a message needs to say of a signed one.

    :param url: The link.
    :param secrets: What a host that redirects to it may have hidden in its name.
    """
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#;\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    return one_line(f"{scheme}://{host}", secrets)


def transfer_error(
    error: BaseException, *, what: str, method: str, url: str, secrets: Iterable[str] = ()
) -> MosaicTransportError:
    """
    The exception for a request to a storage host, or to a source, that got no whole answer.

    :param error: What the HTTP library raised.
    :param what: What was asked, as it follows "could not".
    :param method: HTTP method.
    :param url: The signed address; only its host is named.
    :param secrets: What else the host may repeat.
    """
    hidden = (*secrets, *link_secrets(url), *proxy_secrets())
    return FAULTS.error(error, what=what, method=method, path=origin(url, secrets), secrets=hidden)


def joined(url: str, location: str) -> str:
    """Where a redirect leads; the location itself when it can't be read."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def check_on_web(target: str, *, what: str, given_by: str, secrets: Iterable[str] = ()) -> None:
    """
    Raise unless a link is one of the web.

    :param target: The link.
    :param what: What was asked, as it follows "could not".
    :param given_by: Who gave the link.
    :param secrets: What a host that redirects to it may have hidden in its name.
    :raises MosaicResponseError: It is not.
    """
    try:
        on_web = urlsplit(target).scheme.lower() in ("http", "https")
    except ValueError:
        on_web = False
    if not on_web:
        raise MosaicResponseError(
            f"Could not {what}: {given_by} points to {origin(target, secrets)!r}, which is not on the web.",
            effect_unknown=False,
        )


def forbidden(error: ForbiddenLink, *, what: str, method: str, url: str) -> MosaicResponseError:
    """
    The exception for a link that leads where no link of a server may lead.

    :param error: Why it may not be followed.
    :param what: What was asked, as it follows "could not".
    :param method: HTTP method.
    :param url: The link; only its host is named.
    """
    return MosaicResponseError(
        f"Could not {what}: its link leads to a place that links may not lead to: {redact(str(error))[:300]}. Nothing "
        "was sent there. If this is storage of your own, set allow_private_storage in the connection's extra.",
        method=method,
        path=origin(url),
        effect_unknown=False,
    )


def open_link(
    session: requests.Session,
    url: str,
    *,
    what: str,
    connect_timeout: float,
    timeout: float,
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """
    Ask for what a link leads to; the body is not read yet, and the caller closes the answer.

    :param session: A session of :func:`open_storage_session`, which checks each address that it connects to.
    :param url: The link.
    :param what: What is asked, as it follows "could not".
    :param connect_timeout: Seconds to wait for a connection.
    :param timeout: Seconds to wait for the next byte.
    :param headers: More headers, for example ``Range``.
    :raises MosaicTransportError: No answer came.
    :raises MosaicResponseError: It leads round and round, to where it may not, or to something that is not the web.
    """
    # A file that was compressed on the way has another length than the one that is announced, and no ranges.
    sent = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity", **(headers or {})}
    target = url
    before: list[requests.Response] = []
    secrets: tuple[str, ...] = ()
    for _ in range(_MOST_REDIRECTS):
        check_on_web(target, what=what, given_by=origin(url), secrets=secrets)
        try:
            remember_signed(link_secrets(target, path=False))
            with hiding((*secrets, *link_secrets(target))):
                response = session.get(
                    target, headers=sent, stream=True, allow_redirects=False, timeout=(connect_timeout, timeout)
                )
        except ForbiddenLink as error:
            raise forbidden(error, what=what, method="GET", url=target) from None
        except TRANSFER_ERRORS as error:
            raise transfer_error(error, what=what, method="GET", url=target, secrets=secrets) from None
        location = response.headers.get("location")
        if response.status_code not in _REDIRECTS or not location:
            response.history = before
            return response
        response.close()
        before.append(response)
        secrets = (*secrets, *link_secrets(target))
        target = joined(target, location)
    raise MosaicResponseError(
        f"Could not {what}: {origin(url)} points on and on, {_MOST_REDIRECTS} times.", effect_unknown=False
    )


def secrets_of(response: requests.Response) -> tuple[str, ...]:
    """
    Return what a host may repeat of the links that led to its answer.

    :param response: The answer.
    """
    return link_secrets(*(each.url for each in (*response.history, response)))


@dataclass(frozen=True, kw_only=True)
class FileInfo:
    """
    What an answer says about the file in it.

    :param size: Length in bytes; None when it is only known at the end.
    :param media_type: Media type in lower case, without parameters; empty when nobody says.
    :param file_name: The name that the server gives the file; empty when it gives none.
    :param etag: A strong validator; empty when there is none.
    :param modified: When it was last changed, verbatim; empty when nobody says.
    :param start: The first byte of this answer's part of the file.
    :param delimited: Whether the end of the body can be told from a broken connection.
    :param page: Whether it is a web page instead of a file.
    :param playlist: Whether it is a list of pieces to play (HLS, DASH) instead of a file.
    :param encoded: How the body is compressed; empty when it is plain.
    :param names: Names that the file may have, the best one first: of its link, of the answer, of where it was found.
    """

    size: int | None
    media_type: str = ""
    file_name: str = ""
    etag: str = field(default="", repr=False)
    modified: str = field(default="", repr=False)
    start: int = 0
    delimited: bool = True
    page: bool = False
    playlist: bool = False
    encoded: str = ""
    names: tuple[str, ...] = ()


def file_info(response: requests.Response) -> FileInfo:
    """
    Read an answer's headers.

    :param response: A 200 or 206.
    """
    headers = response.headers
    message = Message()
    # Python's parser takes seconds for 60,000 characters of quotes and semicolons.
    message["content-disposition"] = headers.get("content-disposition", "")[:_LONGEST_DISPOSITION]
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    etag = headers.get("etag", "").strip()
    encoded = headers.get("content-encoding", "").strip().lower()
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    length = headers.get("content-length", "").strip()
    counted = _LENGTH.fullmatch(length) is not None
    size: int | None = int(length) if counted and not chunked else None
    start = 0
    part = _CONTENT_RANGE.match(headers.get("content-range", "")) if response.status_code == 206 else None
    if response.status_code == 206:
        start = int(part[1]) if part else 0
        size = int(part[3]) if part and part[3] != "*" else None
    file_name = _name_in(one_line(message.get_filename() or "", secrets_of(response)))
    asked, landed = (file_name_of(each.url or "") for each in ([*response.history, response][0], response))
    names = tuple(dict.fromkeys(name for name in (asked, file_name, landed) if name))
    return FileInfo(
        size=size,
        media_type=media_type,
        file_name=file_name,
        # A weak one says that two versions serve alike, not that their bytes are the same.
        etag=etag if etag.startswith('"') else "",
        modified=headers.get("last-modified", "").strip(),
        start=start,
        delimited=chunked or counted,
        page=media_type in _WEB_PAGES,
        playlist=is_playlist(media_type, names),
        encoded="" if encoded in _PLAIN else encoded if encoded in _CODINGS else "unknown",
        names=names,
    )


def file_name_of(url: str) -> str:
    """The last part of a link's path; empty when it has none."""
    return _name_in(unquote(urlsplit(url).path.partition(";")[0]))


def _name_in(path: str) -> str:
    """The file's name of a path that a server gave, as it may be shown and written into a form."""
    return label(PurePosixPath(path.replace("\\", "/")).name)


def begins_playlist(block: bytes) -> bool:
    """
    Return whether a file is a list of pieces to play (HLS, DASH), by its content.

    :param block: Its first bytes.
    """
    head = block[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith((b"#EXTM3U", b"<MPD")) or (head.startswith(b"<?xml") and b"<MPD" in head)
