"""
Connections that bound how long a transfer stands still, and notice when the server answers before it has everything.

Without them requests gives each block the *connect* timeout to be sent whole
(https://docs.python.org/3/library/socket.html#socket.socket.sendall), which a slow but healthy line misses.
"""

from __future__ import annotations

import select
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import wait_for_read

# One call into TLS has one deadline, however much it is given: 128 KiB within the timeout is the slowest line.
_TLS_BLOCK = 128 * 1024


class AnsweredEarly(BrokenPipeError):  # noqa: N818 - urllib3 knows its base class as "stop sending, read the answer"
    """The server does not want the rest."""


class PatientAdapter(HTTPAdapter):
    """
    Sends bodies of :class:`memoryview` blocks with a timeout on standing still.

    :param standstill: Seconds that may pass without a byte being taken.
    :param direct: What the connections that no proxy carries are besides.
    :param always: What all connections are besides.
    """

    def __init__(self, *, standstill: float, direct: tuple[type, ...] = (), always: tuple[type, ...] = ()) -> None:
        self._pools = _pools(standstill, (*direct, *always))
        self._pools_behind_proxy = _pools(standstill, always)
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Use our connections behind a proxy too."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        # The connections of a SOCKS proxy are of a kind of their own.
        if isinstance(manager, ProxyManager):
            manager.pool_classes_by_scheme = self._pools_behind_proxy
        return manager


def _pools(standstill: float, more: tuple[type, ...]) -> dict[str, Any]:
    class Patient:
        sock: Any

        def send(self, data: Any) -> None:
            if not isinstance(data, memoryview):
                super().send(data)  # type: ignore[misc]
                return
            line = self.sock
            before = line.gettimeout()
            line.settimeout(standstill)
            try:
                _send_all(line, data, standstill)
            except TimeoutError:
                if wait_for_read(line, timeout=0):
                    raise AnsweredEarly from None
                raise
            except ConnectionResetError as error:
                # The answer may lie in the socket still. urllib3 1.26 knows only a broken pipe as a reason to look.
                raise AnsweredEarly from error
            finally:
                line.settimeout(before)

    plain_connection = type("PlainConnection", (Patient, *more, HTTPConnection), {})
    secure_connection = type("SecureConnection", (Patient, *more, HTTPSConnection), {})

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = plain_connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = secure_connection

    return {"http": PlainPool, "https": SecurePool}


def _send_all(line: Any, data: memoryview, standstill: float) -> None:
    # Over TLS something can nearly always be read that is no answer (session tickets): there the break is awaited.
    if type(line) is not socket.socket:
        while data:
            data = data[line.send(data[:_TLS_BLOCK]) :]
        return
    poller = select.poll()
    poller.register(line, select.POLLIN | select.POLLOUT)
    while data:
        events = poller.poll(standstill * 1000)
        if not events:
            raise TimeoutError("the server took nothing for too long")
        if events[0][1] & select.POLLIN:
            raise AnsweredEarly
        data = data[line.send(data) :]
