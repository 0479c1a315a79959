"""
Limits for h11, which parses the responses for httpx without a turn for other coroutines.

For some invalid headers and chunk sizes, the patterns of h11 take quadratic time: 40 s for 90 KB of spaces. A search by
``re`` blocks all threads, so a server could stop a triggerer. The patterns here match exactly the same texts.

httpcore bounds each interim response ("100 Continue"), but not their number. One read of the socket brings thousands.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from h11 import SEND_RESPONSE, SERVER, InformationalResponse, RemoteProtocolError, _abnf, _readers

#: Interim responses before a response. All h11 clients of this process share the limit.
_MAX_INTERIM = 100

_HEAD = SERVER, SEND_RESPONSE
_read_head: Any = _readers.READERS.get(_HEAD)


def use_linear_patterns() -> None:
    """Replace the patterns of h11 in this process. A pattern that another version writes differently stays."""
    with suppress(AttributeError):
        spaces, extension = _abnf.OWS, f"(?P<chunk_ext>{_abnf.chunk_ext})"
        # What a lookahead has found is final: the spaces before a value are not tried again as those behind it. Python
        # 3.11 has atomic groups for this, but 3.10 does not.
        header = _abnf.header_field.replace(f":{spaces}", f":(?=(?P<spaces>{spaces}))(?P=spaces)")
        # An extension ends with the spaces behind it.
        chunk = _abnf.chunk_header.replace(f"{extension}?{spaces}", f"(?:{extension}|{spaces})")
        _readers.header_field_re = re.compile(header.encode())
        _readers.chunk_header_re = re.compile(chunk.encode())


def limit_interim_responses() -> None:
    """Let h11 clients in this process fail after too many interim responses."""
    if _read_head is not None:
        _readers.READERS[_HEAD] = _read_limited_head


def _read_limited_head(buffer: Any) -> Any:
    event = _read_head(buffer)
    if isinstance(event, InformationalResponse):
        # Each connection has one buffer.
        buffer.interim_responses = getattr(buffer, "interim_responses", 0) + 1
        if buffer.interim_responses > _MAX_INTERIM:
            raise RemoteProtocolError("too many interim responses")
    elif event is not None:
        buffer.interim_responses = 0
    return event
