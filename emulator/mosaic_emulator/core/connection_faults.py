"""What only the transport can do: close a connection without an answer, or reset it."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

#: SO_LINGER with no time: closing sends RST and drops what was not sent.
NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: Any) -> None:
    """End a connection of the event loop with a TCP reset."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport.abort()


def with_transport(base: type[Any]) -> type[Any]:
    """
    Make a uvicorn protocol that gives the application the connection it came by.

    :param base: one of uvicorn's own HTTP protocols.
    """

    class TransportProtocol(base):  # type: ignore[misc]
        """The protocol, with ``mosaic.transport`` in each scope."""

        app: Any

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            application = self.app

            async def with_scope(scope: Any, receive: Any, send: Any) -> None:
                scope["mosaic.transport"] = transport
                await application(scope, receive, send)

            self.app = with_scope

    return TransportProtocol
