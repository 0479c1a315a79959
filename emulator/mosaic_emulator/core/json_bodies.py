"""JSON that clients send, read so that it can be stored and answered with."""

from __future__ import annotations

import json
from typing import Any, Final

MAX_BODY: Final = 16 << 20
MAX_DEPTH: Final = 64


def load_json(body: bytes) -> Any:
    """
    Decode a body.

    :raises ValueError: when it is no JSON, is too long or too deep, or holds half a character.
    """
    if len(body) > MAX_BODY:
        raise ValueError(f"the body is longer than {MAX_BODY} bytes")
    try:
        data = json.loads(body)
        # What can't be written can't be answered with either: halves of surrogate pairs, and depths that this Python
        # reads but does not write.
        json.dumps(data, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    level = [data]
    for _ in range(MAX_DEPTH):
        containers = [each for each in level if isinstance(each, (dict, list))]
        if not containers:
            return data
        level = [inner for each in containers for inner in (each.values() if isinstance(each, dict) else each)]
    raise ValueError("the body is nested too deeply")
