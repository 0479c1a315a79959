"""Replies that try to hold a client or fill its memory, for :class:`.servers.HostileServer`."""

from __future__ import annotations

import contextlib
import socket
import time
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from functools import cache

from .servers import Reply

#: Seconds after which a server stops, so that a client without a limit fails its test instead of hanging.
_MAX_SECONDS = 30.0


def endless(start: bytes, more: bytes, *, pause: float = 0.02) -> Reply:
    """
    Send a start, then the same bytes again and again.

    :param pause: Seconds between two repetitions.
    """

    def reply(connection: socket.socket) -> bool:
        ends_at = time.monotonic() + _MAX_SECONDS
        with contextlib.suppress(OSError):
            connection.sendall(start)
            while time.monotonic() < ends_at:
                connection.sendall(more)
                if pause:
                    time.sleep(pause)
        return False

    return reply


_CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
_GZIPPED = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
EMPTY_MEMBER = bytes.fromhex("1f8b08000000000002ff03000000000000000000")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

#: Each byte comes within any read timeout.
TRICKLES: Mapping[str, Reply] = {
    "a status line": endless(b"HTTP/1.1 200 ", b"O"),
    "a header": endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "a chunk's size": endless(_CHUNKED + b"1;", b"x"),
    "chunks": endless(_CHUNKED, b"1\r\n \r\n"),
    "trailers": endless(_CHUNKED + b"1\r\n \r\n0\r\n", b"X-T: 1\r\n", pause=0.05),
    "100 Continue": endless(_CONTINUE, _CONTINUE),
    "empty gzip members": endless(_GZIPPED, EMPTY_MEMBER),
    "a body": endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" "),
}
#: Endless, as fast as the client reads.
FLOODS: Mapping[str, Reply] = {
    "trailers": endless(_CHUNKED + b"1\r\n \r\n0\r\n", b"X-T: 1\r\n" * 1000, pause=0),
    "100 Continue": endless(_CONTINUE, _CONTINUE * 100, pause=0),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-H: 1\r\n" * 1000, pause=0),
    "a header": endless(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 10_000, pause=0),
    "a chunk's size": endless(_CHUNKED + b"1;", b"x" * 10_000, pause=0),
    "a chunk of a negative size": endless(_CHUNKED + b"-1\r\n", b"x" * 100_000, pause=0),
    "chunks of a byte": endless(_CHUNKED, b"1\r\n \r\n" * 2000, pause=0),
    "empty gzip members": endless(_GZIPPED, EMPTY_MEMBER * 1000, pause=0),
    "a body": endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" " * 100_000, pause=0),
}


@cache
def bomb(size: int, *, layers: int = 2) -> bytes:
    """Return ``size`` bytes of spaces, compressed with gzip more than once: 1 GiB in two layers is less than 10 KB."""
    content = _packed([b" " * 1024 * 1024] * (size // 1024 // 1024))
    for _ in range(layers - 1):
        content = _packed([content])
    return content


@contextlib.contextmanager
def at_most(size: int, *, seconds: float = 60.0) -> Iterator[None]:
    """Fail if the block allocates more bytes at once, or takes longer."""
    started = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size
    assert time.monotonic() - started < seconds


def _packed(blocks: list[bytes]) -> bytes:
    compressing = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(map(compressing.compress, blocks)) + compressing.flush()
