"""
JSON from outside, decoded so that nothing in it breaks the code that reads it.

Python's decoder accepts more than other software can store or print: structures too deep for ``repr``, halves of
surrogate pairs, NUL, and ``NaN``. XCom, PostgreSQL and log formatters reject these, long after the request.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

#: What stands in a text for a character that no text can hold.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Levels of the deepest structure. Documented responses have nine.
MOST_LEVELS = 100


def _finite(number: str) -> float | None:
    return value if math.isfinite(value := float(number)) else None


# Where no number is, null is what JSON has. The constants are NaN and Infinity, which only Python's decoder knows.
_decoder = json.JSONDecoder(parse_constant=lambda name: None, parse_float=_finite)
_ESCAPES = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")


def decode_json(content: bytes | str) -> Any:
    """
    Decode JSON. Characters that no text can hold are replaced. ``NaN``, ``Infinity`` and ``1e999`` are None.

    :param content: JSON; bytes in UTF-8, UTF-16 or UTF-32.
    :raises ValueError: It is something else, is nested too deeply, or has a number with thousands of digits.
    """
    text = content if isinstance(content, str) else content.decode(json.detect_encoding(content))
    try:
        data = _decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_levels(data)
    # Only escapes bring such characters into a text that was decoded. Pairs of escapes, as of emojis, are whole by now.
    return _cleaned(data) if isinstance(content, str) or _ESCAPES.search(text) else data


def is_fit(text: str) -> bool:
    """
    Return whether a text has only characters that come back from a store as they went in.

    :param text: The text.
    """
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
