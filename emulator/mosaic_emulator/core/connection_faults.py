"""Access to a request's connection, to close or reset it."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

#: SO_LINGER with a timeout of zero: closing the socket sends a TCP reset and drops unsent data.
NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: Any) -> None:
    """Reset a connection of the event loop."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


def with_transport(base: type[Any]) -> type[Any]:
    """
    Return a uvicorn protocol that passes the connection to the application as ``mosaic.transport`` in the scope.

    :param base: One of uvicorn's HTTP protocols.
    """

    class TransportProtocol(base):  # type: ignore[misc]
        """The protocol with ``mosaic.transport`` in each scope."""

        app: Any

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            application = self.app

            async def with_scope(scope: Any, receive: Any, send: Any) -> None:
                scope["mosaic.transport"] = transport
                await application(scope, receive, send)

            self.app = with_scope

    return TransportProtocol
