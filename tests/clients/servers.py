"""Servers on plain sockets that misbehave on purpose: each request gets the next reply of a script."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

#: Replies to a request, and returns whether the connection may send another one.
Reply = Callable[[socket.socket], bool]


@dataclass(frozen=True)
class Seen:
    """A received request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def answer(status: int = 200, body: Any = None, **headers: str) -> Reply:
    """Send a valid response; ``body`` is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", *lines, "", ""])

    def reply(connection: socket.socket) -> bool:
        connection.sendall(head.encode() + content)
        return True

    return reply


def cut_short(body: Any, *, keep: int = 5) -> Reply:
    """Send a response with an incomplete body."""
    content = json.dumps(body).encode()

    def reply(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:keep])
        return False

    return reply


def reset(connection: socket.socket) -> bool:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang_up(connection: socket.socket) -> bool:
    """Close the connection without a response."""
    return False


def silence(connection: socket.socket) -> bool:
    """Send nothing until the client leaves."""
    while connection.recv(1024):
        pass
    return False


def trickled_head(connection: socket.socket) -> bool:
    """Send an endless response head."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def trickle(pause: float) -> Reply:
    """Send an endless body byte by byte, each one within any read timeout."""

    def reply(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(pause)

    return reply


def late(pause: float, then: Reply) -> Reply:
    """Reply after a pause."""

    def reply(connection: socket.socket) -> bool:
        time.sleep(pause)
        return then(connection)

    return reply


class Listener:
    """Accepts connections until it is closed, and serves each in its own thread."""

    def __init__(self, *, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A listening socket that is only closed keeps its accept() waiting.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listening.close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(10)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            # Here, not in the thread: closing the listener right after this must find it.
            self._connections.add(connection)
            thread = threading.Thread(target=self._hold, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _hold(self, connection: socket.socket) -> None:
        with connection, self.kept(connection), contextlib.suppress(OSError):
            self.serve(connection)

    @contextlib.contextmanager
    def kept(self, connection: socket.socket) -> Iterator[None]:
        """Shut a connection down when the listener is closed."""
        self._connections.add(connection)
        try:
            yield
        finally:
            self._connections.discard(connection)

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError


class HostileServer(Listener):
    """
    A server with a script.

    :param script: The replies; the last one is repeated.
    :param tls: Speaks TLS with this context.
    """

    def __init__(self, *script: Reply, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._tls = tls
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        super().__init__(port=port)

    @property
    def count(self) -> int:
        """The number of requests."""
        return len(self.seen)

    def serve(self, connection: socket.socket) -> None:
        if self._tls is None:
            self._talk(connection)
            return
        with self._tls.wrap_socket(connection, server_side=True) as secure, self.kept(secure):
            self._talk(secure)

    def _talk(self, connection: socket.socket) -> None:
        while request := read_request(connection):
            with self._lock:
                self.seen.append(request)
                reply = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if not reply(connection):
                return


def read_request(connection: socket.socket) -> Seen | None:
    """Read the next request of a connection; None at its end."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        block = connection.recv(65536)
        if not block:
            return None
        raw += block
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        block = connection.recv(65536)
        if not block:
            return None
        body += block
    return Seen(method, target, headers, body)


class ForwardProxy(Listener):
    """
    A forward proxy that connects every host to one server.

    :param upstream: The port of that server.
    :param rejecting: Status with which the first tunnel is rejected.
    """

    def __init__(self, *, upstream: int, rejecting: int | None = None) -> None:
        self._upstream = upstream
        self._rejecting = rejecting
        self.seen: list[Seen] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        request = read_request(connection)
        if request is None:
            return
        self.seen.append(request)
        status, self._rejecting = self._rejecting, None
        if status is not None:
            answer(status)(connection)
            return
        with socket.create_connection(("127.0.0.1", self._upstream)) as onward, self.kept(onward):
            if request.method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + request.target.partition("://")[2].partition("/")[2]
                lines = [f"{name}: {value}" for name, value in request.headers.items() if not name.startswith("proxy-")]
                head = "\r\n".join([f"{request.method} {path} HTTP/1.1", *lines, "connection: close", "", ""])
                onward.sendall(head.encode() + request.body)
            relay = threading.Thread(target=_relay, args=(connection, onward), daemon=True)
            relay.start()
            _relay(onward, connection)
            relay.join(10)


def _relay(source: socket.socket, target: socket.socket) -> None:
    """Forward all bytes, then the end of the connection: a reset as a reset."""
    try:
        while block := source.recv(65536):
            target.sendall(block)
    except OSError:
        reset(target)
    for connection in (source, target):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
