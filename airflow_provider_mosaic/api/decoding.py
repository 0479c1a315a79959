"""
Decode JSON of servers and users into values that everything else can store and print.

Python's decoder accepts more: structures too deep for ``repr``, halves of surrogate pairs, NUL, and ``NaN``. XCom,
PostgreSQL and log formatters reject these, long after the request.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

#: Replaces a character that can't be stored.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Documented responses have nine levels.
MOST_LEVELS = 100


def _finite(number: str) -> float | None:
    return value if math.isfinite(value := float(number)) else None


# The constants are NaN and Infinity, which are not JSON.
_decoder = json.JSONDecoder(parse_constant=lambda name: None, parse_float=_finite)
_ESCAPES = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")


def decode_json(content: bytes | str) -> Any:
    """
    Decode JSON. Replace characters that can't be stored. Return None for ``NaN``, ``Infinity`` and ``1e999``.

    :param content: Text, or bytes in UTF-8, UTF-16 or UTF-32.
    :raises ValueError: It is not JSON, is nested too deeply, or has a number with thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    try:
        data = _decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_levels(data)
    # In decoded bytes, only escapes can produce such characters. Pairs of escapes, as for emojis, are already joined.
    return _cleaned(data) if isinstance(content, str) or _ESCAPES.search(text) else data


def is_fit(text: str) -> bool:
    """Return whether all characters of a text can be stored."""
    return _UNFIT.search(text) is None


def _check_levels(data: Any) -> None:
    level = [data]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deeply")


def _cleaned(data: Any) -> Any:
    if isinstance(data, str):
        return _UNFIT.sub(REPLACEMENT, data)
    if isinstance(data, list):
        return [_cleaned(item) for item in data]
    if isinstance(data, dict):
        return {_cleaned(name): _cleaned(value) for name, value in data.items()}
    return data
