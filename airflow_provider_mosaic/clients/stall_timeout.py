"""
Connections that bound how long a transfer stands still, and how long an answer takes, whatever part of it comes slowly.

The libraries bound each call to the socket alone. A server that sends a byte now and then holds a worker for ever: in
the status line, a header, the size of a chunk, the trailers, or with one "100 Continue" after another. Left alone,
requests also gives each block of an upload the *connect* timeout to be sent whole
(https://docs.python.org/3/library/socket.html#socket.socket.sendall), which a slow but healthy line misses.
"""

from __future__ import annotations

import io
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from http.client import HTTPException, HTTPResponse
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.util import wait_for_read

# One call into TLS has one deadline, however much it is given: 128 KiB within the timeout is the slowest line.
_TLS_BLOCK = 128 * 1024
#: Bytes of the head of an answer, with each "100 Continue" before it. The asynchronous client has the same bound.
_LONGEST_HEAD = 100 * 1024
#: Bytes a second. A server that takes less is left, though it never stands still.
_LOWEST_RATE = 8 * 1024
# Small enough to be one TLS record: each call into TLS may take the time that is left.
_RECORD = 16 * 1024

_ends_at: ContextVar[float] = ContextVar("ends_at", default=float("inf"))


class AnsweredEarly(BrokenPipeError):  # noqa: N818 - urllib3 knows its base class as "stop sending, read the answer"
    """The server does not want the rest."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """
    Bound all that is sent and received over our connections in this block, together; then TimeoutError is raised.

    :param seconds: Seconds from now.
    """
    token = _ends_at.set(min(_ends_at.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _ends_at.reset(token)


class StallTimeoutAdapter(HTTPAdapter):
    """
    Bounds the time of answers, and sends bodies of :class:`memoryview` blocks with a timeout on standing still.

    The head of an answer must be whole within the read timeout, and so must each block that is read of its body; all
    that happens within a :func:`time_limit` ends with it.

    :param standstill: Seconds that may pass without a byte being taken.
    :param direct: Base classes of the connections that no proxy carries.
    :param always: Base classes of all connections.
    """

    def __init__(
        self, *, standstill: float = 60.0, direct: tuple[type, ...] = (), always: tuple[type, ...] = ()
    ) -> None:
        self._standstill = standstill
        self._direct = (*direct, *always)
        self._always = always
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our connections."""
        super().init_poolmanager(*args, **kwargs)
        self._use_ours(self.poolmanager, self._direct)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Use our connections behind a proxy too."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        self._use_ours(manager, self._always)
        return manager

    def build_response(self, req: Any, resp: Any) -> Any:
        """Leave every body as it comes: urllib3 makes a decoder for each encoding that is named, read or not."""
        resp.CONTENT_DECODERS = []
        return super().build_response(req, resp)

    def _use_ours(self, manager: Any, more: tuple[type, ...]) -> None:
        manager.pool_classes_by_scheme = {
            scheme: _stall_timeout_pool(pool, self._standstill, more)
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }


@lru_cache(maxsize=32)
def _stall_timeout_pool(pool: Any, standstill: float, more: tuple[type, ...]) -> Any:
    """Return the class of pools with our connections; SOCKS has pools of its own."""
    if issubclass(pool.ConnectionCls, _StallTimeout):
        return pool
    facts = {"standstill": standstill}
    connection = type(f"Patient{pool.ConnectionCls.__name__}", (*more, _StallTimeout, pool.ConnectionCls), facts)
    return type(f"Patient{pool.__name__}", (pool,), {"ConnectionCls": connection})


class _TimedReader(io.RawIOBase):
    """What comes over a socket, until a moment, and up to a size while it is the head of an answer."""

    def __init__(self, raw: Any, sock: Any) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = sock.gettimeout() or float("inf")
        self.head_left = float(_LONGEST_HEAD)
        self.renew()

    def renew(self) -> None:
        """Start the time of the next block."""
        self._block_ends_at = time.monotonic() + self._timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _set_timeout(self._sock, self._block_ends_at)
        count: int = self._raw.readinto(buffer)
        self.head_left -= count
        if self.head_left < 0:
            raise HTTPException("the head of the answer is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(HTTPResponse):
    """An answer whose head and blocks have their time."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._timed = _TimedReader(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._timed)

    def begin(self) -> None:
        """Read the head."""
        super().begin()
        self._timed.head_left = float("inf")

    def read(self, amt: int | None = None) -> bytes:
        """Read a block of the body."""
        self._timed.renew()
        return super().read(amt)

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            # http.client would read all that comes into memory.
            self._close_conn()  # type: ignore[attr-defined]
            raise ValueError("a chunk has a negative size")
        return size


class _StallTimeout:
    """What our connections do in another way than those of urllib3."""

    response_class = TimedResponse
    standstill: float
    sock: Any
    timeout: Any

    def send(self, data: Any) -> None:
        if isinstance(data, memoryview):
            self._send_patiently(data)
        elif self.sock is None or not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
        else:
            ends_at = time.monotonic() + self.timeout
            for start in range(0, len(data), _RECORD):
                _set_timeout(self.sock, ends_at)
                super().send(data[start : start + _RECORD])  # type: ignore[misc]

    def _send_patiently(self, data: memoryview) -> None:
        line = self.sock
        before = line.gettimeout()
        line.settimeout(self.standstill)
        try:
            _send_all(line, data, self.standstill)
        except TimeoutError:
            if wait_for_read(line, timeout=0):
                raise AnsweredEarly from None
            raise
        except ConnectionResetError as error:
            # The answer may lie in the socket still. urllib3 1.26 knows only a broken pipe as a reason to look.
            raise AnsweredEarly from error
        finally:
            line.settimeout(before)


def _set_timeout(sock: Any, ends_at: float) -> None:
    ends_at = min(ends_at, _ends_at.get())
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long in all")
    sock.settimeout(None if left == float("inf") else left)


def _send_all(line: Any, data: memoryview, standstill: float) -> None:
    ends_at = time.monotonic() + standstill + len(data) / _LOWEST_RATE
    # Over TLS something can nearly always be read that is no answer (session tickets): there the break is awaited.
    plain = type(line) is socket.socket
    poller = select.poll()
    poller.register(line, select.POLLIN | select.POLLOUT)
    while data:
        if time.monotonic() > ends_at:
            raise TimeoutError("the server took too little for too long")
        if plain:
            events = poller.poll(standstill * 1000)
            if not events:
                raise TimeoutError("the server took nothing for too long")
            if events[0][1] & select.POLLIN:
                raise AnsweredEarly
        data = data[line.send(data if plain else data[:_TLS_BLOCK]) :]
