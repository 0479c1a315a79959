"""Keep secrets out of every text that leaves the provider: messages, logs, representations."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# API keys begin with mk_ (https://docs.mosaic.so/api/introduction), webhook secrets with whsk_.
_TOKENS = re.compile(r"\b(?:mk|whsk)_[A-Za-z0-9_\-]+|(?<=Bearer )\S+", re.IGNORECASE)
# A link's query is what signs it, and its userinfo is a password.
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<query>\?[^\s#\"'<>]*)?", re.I
)

# A link that is quoted without its scheme, as a storage host does with the path that it was asked for.
_QUERY = re.compile(r"\?[\w.~%\-]+=[^\s#\"'<>]+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """
    Mask what could be a secret in ``text``: the given secrets, Mosaic keys, and the queries of links.

    :param text: Any text, for example the ``detail`` of an error answer.
    :param secrets: Exact strings to mask besides what is recognized by its shape.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = _TOKENS.sub(MASK, text)
    text = _URL.sub(lambda m: f"{m['scheme']}{m['rest']}{'?' + MASK if m['query'] else ''}", text)
    return _QUERY.sub(f"?{MASK}", text)
