"""JSON request bodies."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

MAX_BODY: Final = 16 << 20
MAX_DEPTH: Final = 64


class RequestBody(BaseModel):
    """Base class of request bodies. Keeps unknown fields: ``unknown_body_fields`` decides about them."""

    model_config = ConfigDict(extra="allow", strict=True)


def load_json(body: bytes) -> Any:
    """
    Parse a body.

    :raises ValueError: If the body is not JSON, is too long, is nested too deeply, or has an unpaired surrogate.
    """
    if len(body) > MAX_BODY:
        raise ValueError(f"the body is longer than {MAX_BODY} bytes")
    try:
        data = json.loads(body)
        # A value that cannot be serialized cannot be part of a response: unpaired surrogates, and nesting that this
        # Python parses but does not serialize.
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
