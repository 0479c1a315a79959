"""
HTTP connections of requests that bound every transfer in time and size.

The libraries bound only single calls to the socket. A server that sends a byte now and then would hold a worker
forever: in the status line, a header, a chunk size, the trailers, or with one "100 Continue" after another. requests
also gives each block of an upload the *connect* timeout to be sent whole
(https://docs.python.org/3/library/socket.html#socket.socket.sendall), which a slow but healthy connection exceeds.
"""

from __future__ import annotations

import io
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidURL
from requests.utils import select_proxy
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NewConnectionError
from urllib3.util import parse_url, wait_for_read
from urllib3.util.connection import allowed_gai_family

from airflow_provider_mosaic.clients.error_mapper import ResponseTooSlow

#: Addresses of a host that are tried.
_MAX_ADDRESSES = 4
#: Bytes of the status line and headers, with each "100 Continue" before them. httpx has this limit for each of them.
_MAX_HEAD = 100 * 1024
#: Bytes a second that a body must bring.
MIN_RECEIVE_RATE = 1024
#: Bytes around each byte of a body, at most. A chunk of one byte has five around it.
_MAX_FRAMING = 16
#: Further bytes for each block: chunk extensions and trailers.
_FRAMING_RESERVE = 256 * 1024
#: Bytes a second that a server must take.
_MIN_SEND_RATE = 8 * 1024
# Each call into TLS has one timeout for all its bytes. With 128 KiB the slowest accepted rate is 128 KiB per timeout.
_TLS_BLOCK = 128 * 1024
# One TLS record: a call with it sends all or nothing.
_TLS_RECORD = 16 * 1024
#: The start of an interim response: "100 Continue", "102 Processing", "103 Early Hints".
_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1")

_deadline: ContextVar[float] = ContextVar("mosaic_deadline", default=float("inf"))


class AnsweredEarly(BrokenPipeError):  # noqa: N818 - urllib3 stops sending at its base class, and reads the response
    """The server responded before it had the whole request."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Bound all that our connections send and receive in this block; raise TimeoutError after that."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)


class StallTimeoutAdapter(HTTPAdapter):
    """
    Bounds requests and responses in time and size.

    A response must have its head within the read timeout. After that its body must bring :data:`MIN_RECEIVE_RATE`,
    averaged over the read timeout. A request body of :class:`memoryview` blocks may stall for ``send_timeout``.

    :param send_timeout: Seconds that may pass without the server taking a byte.
    :param direct: A base class of the connections that use no proxy.
    """

    def __init__(self, *, send_timeout: float = 60.0, direct: type | None = None) -> None:
        self._send_timeout = send_timeout
        self._direct = direct
        super().__init__(max_retries=0)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Reject a host that can't be a name. Behind a proxy, http.client would raise UnicodeError."""
        try:
            str(parse_url(request.url).host).encode("idna")
        except UnicodeError:
            raise InvalidURL("the name of the host is invalid") from None
        return super().send(request, *args, **kwargs)

    def get_connection_with_tls_context(self, request: Any, verify: Any, proxies: Any = None, cert: Any = None) -> Any:
        """Return a pool of our connections."""
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        if not issubclass(pool.ConnectionCls, _BoundedConnection):
            bases: tuple[type, ...] = (_BoundedConnection, pool.ConnectionCls)
            if self._direct is not None and not select_proxy(request.url, proxies):
                bases = (self._direct, *bases)
            pool.ConnectionCls = type("BoundedConnection", bases, {"send_timeout": self._send_timeout})
        return pool

    def build_response(self, req: Any, resp: Any) -> Any:
        """Disable decoding: urllib3 builds a decoder for each encoding that a header names, used or not."""
        resp.CONTENT_DECODERS = []
        # requests before 2.34 fails at a parameter without a value ("; charset"). Nothing reads its encoding.
        content_type = resp.headers.pop("content-type", None)
        response: Any = super().build_response(req, resp)
        if content_type is not None:
            resp.headers["content-type"] = response.headers["content-type"] = content_type
        return response


def is_chunked(transfer_encoding: str) -> bool:
    """Return whether a body has chunks and no other encoding. HTTP permits spaces around each name."""
    *others, last = (name.strip().lower() for name in transfer_encoding.split(","))
    return last == "chunked" and {*others} <= {"identity"}


def check_head(response: Any) -> None:
    """
    Raise HTTPException if the connection ended within the head of a response.

    http.client takes the headers until then for all of them: a file would have no length, and a redirect no target.
    """
    if response.raw._original_response.head_was_cut:
        raise HTTPException("the connection ended within the head of the response")


class _BoundedReader(io.RawIOBase):
    """Read a response from a socket: first its head, before a deadline; then its body, at a least rate."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout() or float("inf")
        self._in_head = True
        self._head_deadline = time.monotonic() + self._timeout
        self._bytes_left = _MAX_HEAD
        #: Since the rate was last checked.
        self._seconds, self._received = 0.0, 0
        #: Whether the connection ended before the head was complete.
        self.head_was_cut = False

    def start_block(self, size: int) -> None:
        """Expect a block of the body."""
        self._in_head = False
        self._bytes_left = _MAX_FRAMING * size + _FRAMING_RESERVE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        started = time.monotonic()
        _set_timeout(self._sock, self._head_deadline if self._in_head else started + self._timeout)
        count: int = self._raw.readinto(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            if self._in_head:
                raise HTTPException("the head of the response is too long")
            raise ResponseTooSlow("the response has more framing than content")
        if not self._in_head:
            # Only waiting counts: a slow destination delays the next read too.
            self._check_rate(time.monotonic() - started, count)
        elif not count:
            self.head_was_cut = True
        return count

    def _check_rate(self, seconds: float, count: int) -> None:
        self._seconds += seconds
        self._received += count
        if self._seconds >= self._timeout:
            if count and self._received < MIN_RECEIVE_RATE * self._timeout:
                raise ResponseTooSlow(f"fewer than {MIN_RECEIVE_RATE} bytes a second for {self._timeout:g} s")
            self._seconds, self._received = 0.0, 0

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _BoundedReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the head. Python's e-mail parser interprets the headers, and raises many kinds of errors."""
        try:
            super().begin()
            self._find_chunks()
        except (OSError, HTTPException):
            raise
        except Exception as error:
            raise HTTPException(f"the head of the response can't be parsed ({type(error).__name__})") from None

    def _find_chunks(self) -> None:
        """Correct http.client: it fails to see "chunked" beside a space, and waits for chunks of a 204."""
        has_body = self._method != "HEAD" and self.status not in (204, 304)  # type: ignore[attr-defined]
        encoding = ", ".join(self.headers.get_all("transfer-encoding", []))
        self.chunked = has_body and (self.chunked or is_chunked(encoding))
        if self.chunked:
            self.chunk_left = self.length = None
            self.will_close = self._check_close()  # type: ignore[attr-defined]

    @property
    def head_was_cut(self) -> bool:
        return self._reader.head_was_cut

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]
        # http.client skips no other interim response than 100, and would return a 102 or 103 as the response.
        return version, 100 if 101 < status < 200 else status, reason

    def read(self, amt: int | None = None) -> bytes:
        self._reader.start_block(amt if amt is not None else self.length or 0)
        return super().read(amt)

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            # http.client would read the rest of the connection into memory.
            self._close_conn()  # type: ignore[attr-defined]
            raise ValueError("a chunk has a negative size")
        return size


class _TlsToProxy:
    """
    The TLS connection to a proxy. A timeout bounds all that is received until it is set again.

    TLS to a server runs inside it, and urllib3 receives many times for one record of the server.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.settimeout(sock.gettimeout())

    def settimeout(self, seconds: float | None) -> None:
        self._deadline = float("inf") if seconds is None else time.monotonic() + seconds
        self._sock.settimeout(seconds)

    def recv(self, *args: Any) -> bytes:
        _set_timeout(self._sock, self._deadline)
        data: bytes = self._sock.recv(*args)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _BoundedConnection:
    """A base class of urllib3's connections."""

    response_class: Any = _BoundedResponse
    send_timeout: float
    port: int
    sock: Any
    timeout: Any
    _dns_host: str

    def resolve(self, name: str) -> list[str]:
        """Return the addresses of a host, of IPv4 and IPv6 in turn: one of them may lead nowhere."""
        try:
            entries = socket.getaddrinfo(name.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM)
        except UnicodeError:
            raise LocationParseError(name) from None
        except OSError as error:
            raise NewConnectionError(cast("Any", self), f"Failed to resolve {name!r} ({error})") from error
        # The position of each address among those of its family. Sorting keeps the order of equal ones.
        positions: dict[str, int] = {}
        counts: Counter[int] = Counter()
        for family, *_, address in entries:
            positions.setdefault(str(address[0]), counts[family])
            counts[family] += 1
        return sorted(positions, key=positions.__getitem__)

    def _new_conn(self) -> Any:
        """
        Connect to one of the first addresses of the host, within the time limit.

        urllib3 would try them all, and give each the whole timeout.
        """
        name, timeout = self._dns_host, self.timeout
        addresses = self.resolve(name)[:_MAX_ADDRESSES]
        try:
            for address in addresses:
                self._dns_host = address
                self.timeout = max(0.001, min(timeout, _deadline.get() - time.monotonic()))
                try:
                    return super()._new_conn()  # type: ignore[misc]
                except (NewConnectionError, ConnectTimeoutError):
                    if address == addresses[-1]:
                        raise
        finally:
            self._dns_host, self.timeout = name, timeout

    def _connect_tls_proxy(self, *args: Any, **kwargs: Any) -> Any:
        return _TlsToProxy(super()._connect_tls_proxy(*args, **kwargs))  # type: ignore[misc]

    def _tunnel(self) -> None:
        """Connect through a proxy. Before Python 3.11, http.client does not close the response of a refusal."""
        responses: list[_BoundedResponse] = []

        def open_response(*args: Any, **kwargs: Any) -> _BoundedResponse:
            responses.append(_BoundedResponse(*args, **kwargs))
            return responses[-1]

        self.response_class = open_response
        try:
            super()._tunnel()  # type: ignore[misc]
            # For the TLS handshake with the server.
            self.sock.settimeout(self.timeout)
        except BaseException:
            for response in responses:
                response.close()
            raise
        finally:
            del self.response_class

    def send(self, data: Any) -> None:
        """Send a block of an upload (a memoryview), or the head or the JSON of a request, all before one deadline."""
        if isinstance(data, memoryview):
            self._send_block(data)
        elif self.sock is None or not isinstance(data, bytes):
            # The first send connects.
            super().send(data)  # type: ignore[misc]
        else:
            deadline = time.monotonic() + self.timeout
            for start in range(0, len(data), _TLS_RECORD):
                _set_timeout(self.sock, deadline)
                super().send(data[start : start + _TLS_RECORD])  # type: ignore[misc]

    def _send_block(self, data: memoryview) -> None:
        sock = self.sock
        timeout_before = sock.gettimeout()
        sock.settimeout(self.send_timeout)
        try:
            _send_all(sock, data, self.send_timeout)
        except TimeoutError:
            if wait_for_read(sock, timeout=0):
                raise AnsweredEarly from None
            raise
        except ConnectionResetError as error:
            # The socket may still hold the response. urllib3 1.26 reads it only after a broken pipe.
            raise AnsweredEarly from error
        finally:
            sock.settimeout(timeout_before)


def _set_timeout(sock: Any, deadline: float) -> None:
    left = min(deadline, _deadline.get()) - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit is over")
    sock.settimeout(None if left == float("inf") else left)


def _send_all(sock: Any, data: memoryview, timeout: float) -> None:
    deadline = time.monotonic() + timeout + len(data) / _MIN_SEND_RATE
    # Over TLS something can nearly always be read that is no response (session tickets). A broken pipe ends it there.
    is_plain = type(sock) is socket.socket
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLOUT)
    while data:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server took fewer than {_MIN_SEND_RATE} bytes a second")
        if is_plain:
            events = poller.poll(timeout * 1000)
            if not events:
                raise TimeoutError(f"the server took no byte for {timeout:g} s")
            if events[0][1] & select.POLLIN:
                if not _INTERIM.match(sock.recv(10, socket.MSG_PEEK)):
                    raise AnsweredEarly
                # http.client skips it when it reads the response. A response behind it is found when the host stalls.
                poller.modify(sock, select.POLLOUT)
                continue
        data = data[sock.send(data if is_plain else data[:_TLS_BLOCK]) :]
