"""Keep secrets out of every text that leaves the provider: messages, logs, representations."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_plus

MASK = "***"

# No pattern here may begin anywhere in a long run of letters and read it to its end: texts come from outside, and that
# would hold an event loop for as long as the square of their length.

# API keys begin with mk_ (https://docs.mosaic.so/api/introduction), webhook secrets with whsk_, and JSON web tokens
# with the base64 of '{"'.
_TOKENS = re.compile(r"\b(?:mk|whsk)_[A-Za-z0-9_\-]+|\beyJ[\w\-]{6,}\.[\w\-.]+|(?<=Bearer )\S+", re.IGNORECASE)
# A link's query is what signs it, its userinfo is a password, and its parameters and its fragment may be a token.
_URL = re.compile(
    r"(?P<head>://)(?P<userinfo>[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#;\"'<>]*)(?P<parameters>;[^\s?#\"'<>]+)?"
    r"(?P<query>\?[^\s#\"'<>]*)?(?P<fragment>#[^\s\"'<>]*)?"
)
_NAMES_A_PLACE = re.compile(
    r"(?<![a-z])(?:s3[an]?|gs|gcs|abfss?|adls?|az|wasbs?|sftp|ssh|smb|hdfs|file)\Z", re.IGNORECASE
)
_LONGEST_SCHEME = 5
_PLACE = re.compile(r"[\w.\-]+@")
# A password with a slash in it: what follows the colon is no port.
_ODD_USERINFO = re.compile(r"(?<=://)[^\s/?#:@\"'<>]{0,200}:(?!\d{0,5}/)[^\s\"'<>@]{0,500}@")
# The same written as the value of another link's parameter, once or several times over.
_ENCODED_URL = re.compile(
    r"(?P<head>%(?:25)*3A(?:%(?:25)*2F){2})"
    r"(?P<rest>(?:[^\s?#&\"'<>%]|%(?!(?:25)*(?:3F|23)))*)"
    r"(?P<query>%(?:25)*(?:3F|23)[^\s?#&\"'<>]*)?",
    re.IGNORECASE,
)
_ENCODED_USERINFO = re.compile(r"\A.*%(?:25)*40", re.IGNORECASE | re.DOTALL)

# A link that is quoted without its scheme, as a storage host does with the path that it was asked for.
_QUERY = re.compile(r"(?P<mark>[?;])[\w.~%\-]+=[^\s#\"'<>]+")

# What moves the cursor of a terminal, or turns the order of the letters around it. A line feed and a tab stay.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: What is read of a text of which only the beginning is wanted, as a multiple of that: masking makes it shorter.
_READ_AHEAD = 8
#: Shorter values are words, numbers and flags, which are no secrets and stand in every text.
_SHORTEST_VALUE = 4
#: The same of a number, and of a folder in a link's path.
_SHORTEST_COMMON = 8
_MOST_VALUES = 500
_LONGEST_LABEL = 200

_known: tuple[str, ...] = ()
_MOST_KNOWN = 64
_signed: tuple[str, ...] = ()
_MOST_SIGNED = 400
_lock = threading.Lock()


def remember(*secrets: str) -> None:
    """
    Mask some secrets in every text from now on, also where nobody knows them, as in the status of a run.

    :param secrets: API keys, and the passwords of proxies. Those of fewer than eight characters are left out: they may
        be words. The last 64 are remembered.
    """
    global _known
    new = [secret for secret in secrets if len(secret) >= _SHORTEST_COMMON and secret not in _known]
    if new:
        with _lock:
            _known = (*_known, *new)[-_MOST_KNOWN:]


def remember_signed(secrets: Iterable[str]) -> None:
    """
    Mask in every text from now on those values of links and forms that look random.

    The API that has handed them out may repeat them later. The last 400 are remembered. UUIDs are left out: they are
    the ids that messages name.

    :param secrets: The values.
    """
    global _signed
    with _lock:
        new = [
            secret
            for secret in secrets
            if looks_random(secret) and not _UUID.fullmatch(secret) and secret not in _signed
        ]
        _signed = (*_signed, *new)[-_MOST_SIGNED:]


def looks_random(text: str) -> bool:
    """
    Return whether a text may be a signature or a token: long, and letters and digits mixed.

    :param text: The text.
    """
    return len(text) >= 12 and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def redact(text: str, secrets: Iterable[str] = (), *, longest: int | None = None) -> str:
    """
    Mask what could be a secret in ``text``: the given secrets, Mosaic keys, and the queries of links.

    Control characters are escaped, except for line feeds and tabs.

    :param text: Any text, for example the ``detail`` of an error answer.
    :param secrets: Exact strings to mask besides what is recognized by its shape, in any spelling that a server may
        give them.
    :param longest: How much of it is wanted; the rest is not even looked at.
    """
    text = _masked_values(text, (*secrets, *_known), None if longest is None else longest * _READ_AHEAD)
    text = _TOKENS.sub(MASK, _masked_signed(text))
    text = _ODD_USERINFO.sub("", text)
    text = _URL.sub(_masked, text)
    text = _ENCODED_URL.sub(_masked_encoded, text)
    text = _QUERY.sub(rf"\g<mark>{MASK}", text)
    text = visible(text)
    return text if longest is None or len(text) <= longest else text[:longest] + "…"


def one_line(text: str, secrets: Iterable[str] = (), *, longest: int = _LONGEST_LABEL) -> str:
    """
    Redact a text of the server, and bring it onto one line.

    :param text: The text.
    :param secrets: Exact strings to mask.
    :param longest: The most characters that are kept.
    """
    return re.sub(r"[\t\n]+", " ", redact(text, secrets, longest=longest))


def label(text: str) -> str:
    """
    Return an id, a status or a name of the server as it may stand in any text: short, on one line, visible.

    :param text: What the server sent.
    """
    text = _masked_values(text, _known, _LONGEST_LABEL * 2)
    if not text.isprintable():
        text = re.sub(r"[\t\n]+", " ", visible(text))
    return text if len(text) <= _LONGEST_LABEL else text[:_LONGEST_LABEL] + "…"


def holds_known_secret(text: str) -> bool:
    """
    Return whether a text has a remembered secret in it.

    :param text: What the server sent as an id.
    """
    return any(secret in text for secret in _known)


def masked(text: str) -> str:
    """
    Mask the remembered secrets in a text of ours, and escape control characters.

    :param text: A message that was composed of texts which are redacted already.
    """
    return visible(_masked_values(_masked_signed(text), _known, None))


def visible(text: str) -> str:
    """
    Escape control characters, and those that change the direction of a text.

    :param text: The text; its line feeds and tabs stay.
    """
    if text.isprintable():
        return text
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def link_secrets(*links: str, path: bool = True) -> tuple[str, ...]:
    """
    Return what a signed link holds that may open it: each value of its query and parameters, and its path.

    A storage host may repeat any of them in its answer.

    :param links: The links.
    :param path: Whether the path is wanted: it may hold ids that our own messages name.
    """
    found: dict[str, None] = {}
    for link in links:
        _gather(link if path else _without_path(link), found, depth=3)
    return tuple(found)[:_MOST_VALUES]


def values(texts: Iterable[str]) -> tuple[str, ...]:
    """
    Return those of some values that are worth masking: not ``201``, not ``en``.

    :param texts: The values.
    """
    return tuple(dict.fromkeys(text for text in texts if _is_value(text)))


def _without_path(link: str) -> str:
    return re.sub(r"(?<=://)[^;?#]*", "", link, count=1)


def _gather(link: str, found: dict[str, None], depth: int) -> None:
    rest = link.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    target = rest[len(authority) :]
    userinfo = authority.rpartition("@")[0]
    before, _, query = target.partition("?")
    path, *parameters = before.split(";")
    query, _, fragment = query.partition("#")
    pairs = [pair for part in (*parameters, query, fragment) for pair in re.split("[&;]", part)]
    parts = [value if equals else name for name, equals, value in (pair.partition("=") for pair in pairs)]
    *folders, name = path.split("/")
    if "." not in name:
        # With a suffix it is the name of the file, which messages give.
        folders.append(name)
    folders = [part for part in folders if len(part) >= _SHORTEST_COMMON]
    found |= dict.fromkeys(values([target, query, fragment, userinfo, userinfo.partition(":")[2], *parts, *folders]))
    for part in parts:
        inner = unquote(part)
        if depth and "://" in inner:
            _gather(inner, found, depth - 1)


def _is_value(text: str) -> bool:
    return len(text) >= (_SHORTEST_COMMON if text.isdecimal() else _SHORTEST_VALUE)


def _masked_values(text: str, secrets: tuple[str, ...], most: int | None) -> str:
    """The text, or the beginning of one that is longer than ``most``, without the secrets."""
    longest = max(map(len, secrets), default=0) * 3
    cut = most is not None and len(text) > most
    if most is not None and cut:
        text = text[: most + longest]
    pattern = _pattern(secrets)
    if pattern is not None:
        text = pattern.sub(MASK, text)
    if cut:
        # What is left of a secret that was cut in two lies within its length from the end.
        text = _whole_words(text[: max(0, len(text) - longest)] if longest else text)
    return text


def _masked_signed(text: str) -> str:
    for secret in _signed:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


@lru_cache(maxsize=16)
def _pattern(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    forms = {form for secret in secrets if secret for form in _spellings(secret)}
    # The longest first: one may be the beginning of another.
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))), re.IGNORECASE) if forms else None


def _spellings(secret: str) -> set[str]:
    """How servers repeat a value: as it is, percent-encoded once or twice, or decoded, in HTML, in JSON, in a repr."""
    encoded = quote(secret, safe="", errors="replace")
    bare = re.sub(r"\A(?:mk|whsk)_", "", secret)
    # What is left of a key without its prefix may be a word.
    plain = {secret, unquote(secret), unquote_plus(secret), bare if len(bare) >= _SHORTEST_COMMON else secret}
    written = {
        encoded,
        quote(encoded, safe=""),
        quote(secret, errors="replace"),
        html.escape(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        repr(secret)[1:-1],
        " ".join(secret.split()),
    }
    return {secret} | {form for form in plain | written if len(form) >= _SHORTEST_VALUE}


def _masked(link: re.Match[str]) -> str:
    # In object storage the part before the @ names an Airflow connection, or Azure's container.
    place = link["userinfo"] or ""
    before = link.string[max(0, link.start() - _LONGEST_SCHEME - 1) : link.start()]
    if not (_PLACE.fullmatch(place) and _NAMES_A_PLACE.search(before)):
        place = ""
    parameters = f";{MASK}" if link["parameters"] else ""
    query = f"?{MASK}" if link["query"] else ""
    fragment = f"#{MASK}" if link["fragment"] else ""
    return f"{link['head']}{place}{link['rest']}{parameters}{query}{fragment}"


def _masked_encoded(link: re.Match[str]) -> str:
    rest = _ENCODED_USERINFO.sub("", link["rest"], count=1)
    return f"{link['head']}{rest}{MASK if link['query'] else ''}"


def _whole_words(text: str) -> str:
    """Without the last word of a text that was cut: half a link does not look like one."""
    end = max(text.rfind(mark) for mark in " \t\n\"'<>")
    return text[:end] if end > 0 else text
