"""Servers that behave badly on purpose, on plain sockets: each request gets the next entry of a script."""

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

#: What to do with a connection that has sent a request; true if it may send another one.
Act = Callable[[socket.socket], bool]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def answer(status: int = 200, body: Any = None, **headers: str) -> Act:
    """An answer that is as it should be: ``body`` as JSON, or as it is when it is bytes."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", *lines, "", ""])

    def act(line: socket.socket) -> bool:
        line.sendall(head.encode() + content)
        return True

    return act


def cut_short(body: Any, *, keep: int = 5) -> Act:
    """An answer that breaks off in its body."""
    content = json.dumps(body).encode()

    def act(line: socket.socket) -> bool:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content[:keep])
        return False

    return act


def reset(line: socket.socket) -> bool:
    """The connection is reset."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def hang_up(line: socket.socket) -> bool:
    """The connection is closed without a word."""
    return False


def silence(line: socket.socket) -> bool:
    """Nothing, for as long as the client stays."""
    while line.recv(1024):
        pass
    return False


def trickled_head(line: socket.socket) -> bool:
    """An answer whose head never ends."""
    line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        line.sendall(b"x")
        time.sleep(0.02)


def trickle(pause: float) -> Act:
    """An answer whose body never ends, a byte at a time, each one soon enough for any bound on a single read."""

    def act(line: socket.socket) -> bool:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            line.sendall(b" ")
            time.sleep(pause)

    return act


def late(pause: float, then: Act) -> Act:
    """An answer after a while."""

    def act(line: socket.socket) -> bool:
        time.sleep(pause)
        return then(line)

    return act


class Listener:
    """Takes connections, each in a thread of its own, until it is closed."""

    def __init__(self, *, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listening.getsockname()[1]
        self._lines: set[socket.socket] = set()
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
        for line in list(self._lines):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(10)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            # Here, not in the thread: whoever closes the listener right after must find it.
            self._lines.add(line)
            thread = threading.Thread(target=self._hold, args=(line,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _hold(self, line: socket.socket) -> None:
        with line, self.kept(line), contextlib.suppress(OSError):
            self.serve(line)

    @contextlib.contextmanager
    def kept(self, line: socket.socket) -> Iterator[None]:
        """A connection that is shut when the listener is closed."""
        self._lines.add(line)
        try:
            yield
        finally:
            self._lines.discard(line)

    def serve(self, line: socket.socket) -> None:
        raise NotImplementedError


class HostileServer(Listener):
    """
    A server with a script.

    :param script: What each request gets; the last entry serves all that follow.
    :param tls: Speaks TLS with this context.
    """

    def __init__(self, *script: Act, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._script = list(script)
        self._tls = tls
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        super().__init__(port=port)

    @property
    def count(self) -> int:
        """How many requests arrived."""
        return len(self.seen)

    def serve(self, line: socket.socket) -> None:
        if self._tls is None:
            self._talk(line)
            return
        with self._tls.wrap_socket(line, server_side=True) as secure, self.kept(secure):
            self._talk(secure)

    def _talk(self, line: socket.socket) -> None:
        while request := read_request(line):
            with self._lock:
                self.seen.append(request)
                act = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            if not act(line):
                return


def read_request(line: socket.socket) -> Seen | None:
    """The next request of a connection; None when it is over."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        block = line.recv(65536)
        if not block:
            return None
        raw += block
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        block = line.recv(65536)
        if not block:
            return None
        body += block
    return Seen(method, target, headers, body)


class ForwardProxy(Listener):
    """
    A forward proxy that leads every host to one server.

    :param upstream: The port of that server.
    :param refusing: The status that a tunnel is refused with, the first time.
    """

    def __init__(self, *, upstream: int, refusing: int | None = None) -> None:
        self._upstream = upstream
        self._refusing = refusing
        self.seen: list[Seen] = []
        super().__init__()

    def serve(self, line: socket.socket) -> None:
        request = read_request(line)
        if request is None:
            return
        self.seen.append(request)
        refused, self._refusing = self._refusing, None
        if refused is not None:
            answer(refused)(line)
            return
        with socket.create_connection(("127.0.0.1", self._upstream)) as onward, self.kept(onward):
            if request.method == "CONNECT":
                line.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = "/" + request.target.partition("://")[2].partition("/")[2]
                lines = [f"{name}: {value}" for name, value in request.headers.items() if not name.startswith("proxy-")]
                head = "\r\n".join([f"{request.method} {path} HTTP/1.1", *lines, "connection: close", "", ""])
                onward.sendall(head.encode() + request.body)
            relay = threading.Thread(target=_relay, args=(line, onward), daemon=True)
            relay.start()
            _relay(onward, line)
            relay.join(10)


def _relay(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and the end of it: a reset as a reset."""
    try:
        while block := source.recv(65536):
            target.sendall(block)
    except OSError:
        reset(target)
    for line in (source, target):
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
