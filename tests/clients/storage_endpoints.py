"""What storage hosts do, well and badly, as acts for :class:`.servers.HostileServer`."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

from .servers import Act, Listener, reset

TOO_LARGE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>EntityTooLarge</Code><Message>Your proposed upload "
    b"exceeds the maximum allowed object size.</Message><Details>key=secret-field</Details></Error>"
)
EXPIRED = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Invalid according to Policy: Policy expired at "
    b"https://store.test/?X-Goog-Signature=deadbeef &amp; gone.</Message></Error>"
)


def raw(text: bytes) -> Act:
    """Exactly these bytes, then the end of the connection."""

    def act(line: socket.socket) -> bool:
        line.sendall(text)
        return False

    return act


def file(content: bytes, *, start: int = 0, keep: int | None = None, broken: bool = False, **headers: str) -> Act:
    """
    A file, or what is left of it from ``start``, as 206.

    :param keep: Bytes of the body that are sent; None for all.
    :param broken: Ends with a reset.
    """
    body = content[start:]
    status = "206 Partial Content" if start else "200 OK"
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if start and "Content_Range" not in headers:
        lines.append(f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}")
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *lines, "", ""])

    def act(line: socket.socket) -> bool:
        line.sendall(head.encode() + body[:keep])
        return reset(line) if broken else False

    return act


def chunked(content: bytes, *, whole: bool = True) -> Act:
    """A body of which nobody says the length."""
    half = len(content) // 2
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:half], content[half:]) if part)
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + (b"0\r\n\r\n" if whole else b""))


class HastyHost(Listener):
    """
    A storage host that answers when it has seen the head of a request, and takes nothing of the body.

    :param text: The answer.
    :param hangs_up: Whether it closes the connection at once, with the body unread, which resets it.
    """

    def __init__(self, text: bytes, *, hangs_up: bool) -> None:
        self._text = text
        self._hangs_up = hangs_up
        super().__init__()

    def serve(self, line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(4096)
        line.sendall(self._text)
        if not self._hangs_up:
            # Until the client goes away, as far as that can be seen without reading what it sent.
            with suppress(OSError):
                while line.recv(1, socket.MSG_PEEK):
                    if line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1:
                        return


class CountingHost(Listener):
    """A storage host that takes a form of any size and counts its bytes."""

    def __init__(self) -> None:
        self.taken = self.announced = 0
        self.over = threading.Event()
        super().__init__()

    def serve(self, line: socket.socket) -> None:
        try:
            self._take(line)
        finally:
            self.over.set()

    def _take(self, line: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(4096)
        head, _, body = head.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        assert found
        self.announced = int(found[1])
        self.taken = len(body)
        buffer = bytearray(1024 * 1024)
        while self.taken < self.announced and (count := line.recv_into(buffer)):
            self.taken += count
        line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


__all__ = ["EXPIRED", "TOO_LARGE", "CountingHost", "HastyHost", "chunked", "file", "raw"]
