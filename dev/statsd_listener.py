"""A StatsD server that counts the metrics that it receives."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from types import TracebackType


class StatsdListener:
    """Receives metrics by UDP on a free port of this machine, in a thread."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._receive, name="statsd")
        self._sums: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """The port."""
        return int(self._socket.getsockname()[1])

    def sums(self, prefix: str) -> Counter[str]:
        """Return the sums of all counters and timers so far whose name starts with a prefix."""
        with self._lock:
            return Counter({name: value for name, value in self._sums.items() if name.startswith(prefix)})

    def _receive(self) -> None:
        while lines := self._socket.recv(65536):
            with self._lock:
                for line in lines.decode().splitlines():
                    name, _, value = line.partition(":")
                    self._sums[name] += float(value.partition("|")[0])  # type: ignore[assignment]

    def __enter__(self) -> StatsdListener:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            # An empty datagram ends the thread.
            sender.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()
