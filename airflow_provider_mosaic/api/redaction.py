"""Keep secrets out of every text that leaves the provider: messages, logs, representations."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# No pattern here may begin anywhere in a long run of letters and read it to its end: texts come from outside, and that
# would hold an event loop for as long as the square of their length.

# API keys begin with mk_ (https://docs.mosaic.so/api/introduction), webhook secrets with whsk_.
_TOKENS = re.compile(r"\b(?:mk|whsk)_[A-Za-z0-9_\-]+|(?<=Bearer )\S+", re.IGNORECASE)
# A link's query is what signs it, its userinfo is a password, and its fragment may be a token.
_URL = re.compile(
    r"(?P<head>://)(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<query>\?[^\s#\"'<>]*)?(?P<fragment>#[^\s\"'<>]*)?"
)
# The same written as the value of another link's parameter, once or several times over.
_ENCODED_URL = re.compile(
    r"(?P<head>%(?:25)*3A(?:%(?:25)*2F){2})"
    r"(?P<rest>(?:[^\s?#&\"'<>%]|%(?!(?:25)*(?:3F|23)))*)"
    r"(?P<query>%(?:25)*(?:3F|23)[^\s?#&\"'<>]*)?",
    re.IGNORECASE,
)
_ENCODED_USERINFO = re.compile(r"\A.*%(?:25)*40", re.IGNORECASE | re.DOTALL)

# A link that is quoted without its scheme, as a storage host does with the path that it was asked for.
_QUERY = re.compile(r"\?[\w.~%\-]+=[^\s#\"'<>]+")

#: What is read of a text of which only the beginning is wanted, as a multiple of that: masking makes it shorter.
_READ_AHEAD = 8


def redact(text: str, secrets: Iterable[str] = (), *, longest: int | None = None) -> str:
    """
    Mask what could be a secret in ``text``: the given secrets, Mosaic keys, and the queries of links.

    :param text: Any text, for example the ``detail`` of an error answer.
    :param secrets: Exact strings to mask besides what is recognized by its shape.
    :param longest: How much of it is wanted; the rest is not even looked at.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    if longest is not None and len(text) > longest * _READ_AHEAD:
        text = _whole_words(text[: longest * _READ_AHEAD])
    text = _TOKENS.sub(MASK, text)
    text = _URL.sub(_masked, text)
    text = _ENCODED_URL.sub(_masked_encoded, text)
    text = _QUERY.sub(f"?{MASK}", text)
    return text if longest is None or len(text) <= longest else text[:longest] + "…"


def _masked(link: re.Match[str]) -> str:
    query = f"?{MASK}" if link["query"] else ""
    fragment = f"#{MASK}" if link["fragment"] else ""
    return f"{link['head']}{link['rest']}{query}{fragment}"


def _masked_encoded(link: re.Match[str]) -> str:
    rest = _ENCODED_USERINFO.sub("", link["rest"], count=1)
    return f"{link['head']}{rest}{MASK if link['query'] else ''}"


def _whole_words(text: str) -> str:
    """Without the last word of a text that was cut: half a link does not look like one."""
    end = max(text.rfind(mark) for mark in " \t\n\"'<>")
    return text[:end] if end > 0 else text
