"""
Links to files elsewhere: opened without any credential of ours, and shown without what signs them.

Redirects are followed by hand: requests would look into ``~/.netrc`` for a password for each host that it is sent to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from airflow_provider_mosaic.api.access import USER_AGENT
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.redaction import MASK, redact
from airflow_provider_mosaic.clients.storage_session import ForbiddenLink
from airflow_provider_mosaic.clients.sync import FAULTS

#: What the HTTP libraries raise when the way is broken, while asking and while reading.
BROKEN_WAY = (requests.RequestException, HTTPError, HTTPException, OSError)

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_WEB_PAGES = frozenset({"text/html", "application/xhtml+xml"})
# Some S3 clients leave "aws-chunked" behind as an object's encoding; the bytes are plain.
_PLAIN = frozenset({"", "identity", "aws-chunked"})
_QUERY = re.compile(r"\?\S+")
_LONGEST_DISPOSITION = 4096
# Python refuses to read numbers of thousands of digits.
_LENGTH = re.compile(r"[0-9]{1,18}")
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)\s*$", re.IGNORECASE)


def shown(url: str) -> str:
    """A link as it may be shown: without its query, which signs it, without a password, without a fragment."""
    return redact(url).partition("?")[0].partition("#")[0]


def origin(url: str) -> str:
    """Scheme and host of a link: all that a message needs to say of a signed one."""
    try:
        parts = urlsplit(shown(url))
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme}://{parts.netloc}"


def way_fault(error: BaseException, *, what: str, method: str, url: str) -> MosaicTransportError:
    """
    The exception for a request to a storage host, or to a source, that got no whole answer.

    :param error: What the HTTP library raised.
    :param what: What was asked, as it follows "could not".
    :param method: HTTP method.
    :param url: The signed address; only its host is named.
    """
    fault = FAULTS.error(error, what=what, method=method, path=origin(url))
    if "?" in url:
        # urllib3 quotes the target without its scheme, which no pattern knows for a link, and words are cut short.
        fault.args = (_QUERY.sub(f"?{MASK}", str(fault)),)
    return fault


def joined(url: str, location: str) -> str:
    """Where a redirect leads; the location itself when it can't be read."""
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def check_on_web(target: str, *, what: str, given_by: str) -> None:
    """
    Raise unless a link is one of the web.

    :param target: The link.
    :param what: What was asked, as it follows "could not".
    :param given_by: Who gave the link.
    :raises MosaicResponseError: It is not.
    """
    try:
        on_web = urlsplit(target).scheme.lower() in ("http", "https")
    except ValueError:
        on_web = False
    if not on_web:
        raise MosaicResponseError(
            f"Could not {what}: {given_by} points to {shown(target)[:200]!r}, which is not on the web.",
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
    for _ in range(_MOST_REDIRECTS):
        check_on_web(target, what=what, given_by=origin(url))
        try:
            response = session.get(
                target, headers=sent, stream=True, allow_redirects=False, timeout=(connect_timeout, timeout)
            )
        except ForbiddenLink as error:
            raise forbidden(error, what=what, method="GET", url=target) from None
        except BROKEN_WAY as error:
            raise way_fault(error, what=what, method="GET", url=target) from None
        location = response.headers.get("location")
        if response.status_code not in _REDIRECTS or not location:
            return response
        response.close()
        target = joined(target, location)
    raise MosaicResponseError(
        f"Could not {what}: {origin(url)} points on and on, {_MOST_REDIRECTS} times.", effect_unknown=False
    )


@dataclass(frozen=True, kw_only=True)
class Found:
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
    :param encoded: How the body is compressed; empty when it is plain.
    """

    size: int | None
    media_type: str = ""
    file_name: str = ""
    etag: str = ""
    modified: str = ""
    start: int = 0
    delimited: bool = True
    page: bool = False
    encoded: str = ""


def found(response: requests.Response) -> Found:
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
    return Found(
        size=size,
        media_type=media_type,
        file_name=PurePosixPath((message.get_filename() or "").replace("\\", "/")).name,
        # A weak one says that two versions serve alike, not that their bytes are the same.
        etag=etag if etag.startswith('"') else "",
        modified=headers.get("last-modified", "").strip(),
        start=start,
        delimited=chunked or counted,
        page=media_type in _WEB_PAGES,
        encoded="" if encoded in _PLAIN else encoded,
    )


def file_name_of(url: str) -> str:
    """The last part of a link's path; empty when it has none."""
    return PurePosixPath(unquote(urlsplit(url).path).replace("\\", "/")).name
