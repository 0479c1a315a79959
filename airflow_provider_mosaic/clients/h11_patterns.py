"""
Linear patterns for h11, which parses the responses for httpx.

For some invalid headers and chunk sizes, the patterns of h11 take quadratic time: 40 s for 90 KB of spaces. A search by
``re`` blocks all threads, so a server could stop a triggerer. The patterns here match exactly the same texts.
"""

from __future__ import annotations

import re
from contextlib import suppress

from h11 import _abnf, _readers


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
