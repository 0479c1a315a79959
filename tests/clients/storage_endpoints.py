"""Replies of storage hosts for :class:`.servers.HostileServer`."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress

from .servers import Listener, Reply, reset

TOO_LARGE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>EntityTooLarge</Code><Message>Your proposed upload "
    b"exceeds the maximum allowed object size.</Message><Details>key=secret-field</Details></Error>"
)
EXPIRED = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Invalid according to Policy: Policy expired at "
    b"https://store.test/?X-Goog-Signature=deadbeef &amp; gone.</Message></Error>"
)


def raw(text: bytes) -> Reply:
    """Send exactly these bytes, and close the connection."""

    def reply(connection: socket.socket) -> bool:
        connection.sendall(text)
        return False

    return reply


def file(content: bytes, *, start: int = 0, keep: int | None = None, broken: bool = False, **headers: str) -> Reply:
    """
    Send a file, or its rest from ``start`` as a 206.

    :param keep: Bytes of the body that are sent; None for all.
    :param broken: Whether a reset follows.
    """
    body = content[start:]
    status = "206 Partial Content" if start else "200 OK"
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if start and "Content_Range" not in headers:
        lines.append(f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}")
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *lines, "", ""])

    def reply(connection: socket.socket) -> bool:
        connection.sendall(head.encode() + body[:keep])
        return reset(connection) if broken else False

    return reply


def chunked(content: bytes, *, whole: bool = True) -> Reply:
    """Send a body without its length."""
    half = len(content) // 2
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:half], content[half:]) if part)
    return raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + (b"0\r\n\r\n" if whole else b""))


class HastyHost(Listener):
    """
    A storage host that responds to the head of a request without reading the body.

    :param text: The response.
    :param hangs_up: Whether it closes the connection at once, which resets it.
    """

    def __init__(self, text: bytes, *, hangs_up: bool) -> None:
        self._text = text
        self._hangs_up = hangs_up
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        connection.sendall(self._text)
        if not self._hangs_up:
            # Until the client leaves, as far as that shows without reading its body.
            with suppress(OSError):
                while connection.recv(1, socket.MSG_PEEK):
                    if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1:
                        return


class CountingHost(Listener):
    """
    A storage host that counts the bytes of a form.

    :param interim: What it sends before it reads the form.
    :param text: The response.
    """

    def __init__(self, *, interim: bytes = b"", text: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> None:
        self._interim, self._text = interim, text
        self.taken = self.announced = 0
        self.over = threading.Event()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        try:
            self._take(connection)
        finally:
            self.over.set()

    def _take(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(4096)
        head, _, body = head.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        assert found
        self.announced = int(found[1])
        self.taken = len(body)
        connection.sendall(self._interim)
        buffer = bytearray(1024 * 1024)
        while self.taken < self.announced and (count := connection.recv_into(buffer)):
            self.taken += count
        connection.sendall(self._text)


__all__ = ["EXPIRED", "TOO_LARGE", "CountingHost", "HastyHost", "chunked", "file", "raw"]
