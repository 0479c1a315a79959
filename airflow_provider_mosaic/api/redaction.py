"""
Keep secrets out of all text that leaves the provider: messages, logs, representations.

:func:`redact` masks, in this order:

1. Values that the caller passes or the process remembers (API keys, parts of signed links), in every encoding in which
   servers repeat them.
2. Tokens with a known shape: API keys, webhook secrets, JSON web tokens, bearer tokens.
3. Of links, also of a link within a link: user and password, query, parameters, fragment.

Then it escapes control characters. All patterns take linear time: none can start in the middle of a long run of letters
and read to its end. Otherwise a hostile text would block an event loop.
"""

from __future__ import annotations

import base64
import html
import math
import re
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice

MASK = "***"

# API keys start with mk_ (https://docs.mosaic.so/api/introduction), webhook secrets with whsk_, and JSON web tokens
# with the base64 of '{"'. A token matches without the dot behind its first part too: a search for the dot that fails
# would start again after each hyphen.
_TOKENS = re.compile(r"\b(?:mk|whsk)_[A-Za-z0-9_\-]+|\beyJ[\w\-]{6,}(?:\.[\w\-.]*)?|(?<=Bearer )\S+", re.IGNORECASE)
#: Words and ids. A triggerer reads thousands of them. They contain no link, API key or webhook secret.
_PLAIN = re.compile(r"(?!.*(?:mk|whsk)_)[\w.\- ]*", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: Part of a text to read for its beginning, as a multiple of the result's length: masking makes a text shorter.
_READ_AHEAD = 8
#: Shorter values are words and flags that occur in any text.
_SHORTEST_VALUE = 4
#: The same for numbers, API keys, and folders in the path of a link.
SHORTEST_COMMON = 8
_MAX_LABEL_LENGTH = 200
#: Most names, ids or nodes that a message lists.
MAX_LISTED = 50

_known: tuple[str, ...] = ()
_MAX_KNOWN = 256
_signed: tuple[str, ...] = ()
_MAX_SIGNED = 600
#: Of one link. Ten redirects of a host leave room for the values of other links.
_MAX_SIGNED_AT_ONCE = 50
_ids: tuple[str, ...] = ()
_MAX_IDS = 10_000
_lock = threading.Lock()


def remember(*secrets: str) -> None:
    """
    Mask secrets in all text of this process from now on, also within a text in base64. The last few are remembered.

    :param secrets: API keys, and passwords of proxies. Those with less than eight characters are ignored: they may be
        words.
    """
    global _known
    new = [secret for secret in secrets if len(secret) >= SHORTEST_COMMON and secret not in _known]
    if new:
        with _lock:
            _known = tuple(dict.fromkeys((*_known, *(form for each in new for form in (*_in_base64(each), each)))))
            _known = _known[-_MAX_KNOWN:]


def _in_base64(secret: str) -> Iterator[str]:
    """Yield what base64 makes of a secret after any other text, without the characters that depend on that text."""
    content = secret.encode("utf-8", "replace")
    for before in range(3):
        # Three bytes become four characters of six bits. Those with bits of the text before or after are left out.
        first, end = math.ceil(before * 8 / 6), (before + len(content)) * 8 // 6
        code = base64.b64encode(bytes(before) + content)[first:end].decode()
        yield from (code, code.replace("+", "-").replace("/", "_"))


def remember_signed(secrets: Iterable[str]) -> None:
    """
    Mask values of a signed link or form in all text of this process from now on, if they look random.

    The API may repeat them later. The last 600 are remembered, and of one link or form the first 50. UUIDs are ignored,
    and what :func:`remember_ids` was given before: they are the ids that messages name.
    """
    global _signed
    random_values = (each for each in secrets if looks_random(each) and not _UUID.fullmatch(each))
    new = [each for each in islice(random_values, _MAX_SIGNED_AT_ONCE) if not _is_in_id(each)]
    with _lock:
        _signed = (*_signed, *(each for each in new if each not in _signed))[-_MAX_SIGNED:]


def remember_ids(*ids: str) -> None:
    """
    Keep ids visible that links contain too. The last 10,000 are remembered.

    A value that was remembered as a secret before stays one: a server may return it as an id.

    :param ids: Those of the task in Airflow, and those that Mosaic returned.
    """
    global _ids
    with _lock:
        _ids = tuple(dict.fromkeys((*_ids, *(_decode(id)[0] for id in ids))))[-_MAX_IDS:]


def _is_in_id(text: str) -> bool:
    """Return whether a text is an id that messages name, or a part of it: ``{{ ts }}`` is a part of a DAG run's id."""
    decoded = _decode(text)[0]
    return any(decoded in id for id in _ids)


def looks_random(text: str) -> bool:
    """Return whether a text may be a signature or a token: long, with letters and digits."""
    return len(text) >= 12 and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def redact(text: str, secrets: Iterable[str] = (), *, longest: int | None = None) -> str:
    """
    Mask all secrets in a text, and escape control characters except line feeds and tabs.

    :param secrets: Exact values to mask, besides those that are remembered or recognized by their shape.
    :param longest: Characters of the result. The rest of a long text is not read.
    """
    text = _mask_values(text, (*secrets, *_known, *_signed), None if longest is None else longest * _READ_AHEAD)
    text = _mask_shapes(text)
    return text if longest is None or len(text) <= longest else text[:longest] + "…"


def redact_path(path: str) -> str:
    """Redact a path or URI that a task chose. A file must be found by it, so it keeps what links contain too."""
    return _mask_shapes(_mask_values(path, _known, None))


def _mask_shapes(text: str) -> str:
    return visible(_mask_links(_TOKENS.sub(MASK, text)))


def one_line(text: str, secrets: Iterable[str] = (), *, longest: int = _MAX_LABEL_LENGTH) -> str:
    """Redact a text of the server, and replace line feeds and tabs by spaces."""
    return re.sub(r"[\t\n]+", " ", redact(text, secrets, longest=longest))


def label(text: str) -> str:
    """Return an id, status or name of the server for use in messages: at most 200 characters, on one line, visible."""
    if not _PLAIN.fullmatch(text):
        return one_line(text)
    # A remembered value of a link may be the id itself, which later requests need.
    text = _mask_values(text, _known, _MAX_LABEL_LENGTH * 2)
    return text if len(text) <= _MAX_LABEL_LENGTH else text[:_MAX_LABEL_LENGTH] + "…"


def listed(names: Sequence[str]) -> str:
    """Return the first fifty names, separated by commas, and the number of the others."""
    return ", ".join([*names[:MAX_LISTED], *more_than_listed(len(names))])


def more_than_listed(count: int) -> list[str]:
    """Return what ends a list of fifty that has more."""
    return [f"and {count - MAX_LISTED} more"] if count > MAX_LISTED else []


def holds_known_secret(text: str) -> bool:
    """Return whether a text contains a remembered secret."""
    return bool(_find(text, _known))


def masked(text: str) -> str:
    """Mask the remembered secrets in a message that was composed of redacted texts, and escape control characters."""
    return visible(_mask_values(text, (*_known, *_signed), None))


def values(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the values that are long enough to mask: not ``201``, not ``en``."""
    long = [text for text in texts if len(text) >= (SHORTEST_COMMON if text.isdecimal() else _SHORTEST_VALUE)]
    return tuple(dict.fromkeys(long))


# Values


#: Characters of an encoded character: ``&#x2F;``, ``\\u002f``.
_MAX_ENCODED_LENGTH = 6


def _mask_values(text: str, secrets: tuple[str, ...], most: int | None) -> str:
    """Mask the secrets in a text, or in about the first ``most`` characters of a longer one."""
    if most is None or len(text) <= most:
        return _mask_found(text, secrets)
    longest = max(map(len, secrets), default=0) * _MAX_ENCODED_LENGTH
    if len(text) <= most + longest:
        return _mask_found(text, secrets)
    # The cut may leave a part of a secret at the end, which is not found. Drop as many characters from the end as an
    # encoded secret can have.
    text = _mask_found(text[: most + longest], secrets)
    return _without_last_word(text[: max(0, len(text) - longest)] if longest else text)


def _without_last_word(text: str) -> str:
    """Remove the last word of a text that was cut: half of a link is not recognized as a link."""
    end = max(text.rfind(mark) for mark in " \t\n\"'<>")
    return text[:end] if end > 0 else text


def _mask_found(text: str, secrets: tuple[str, ...]) -> str:
    parts: list[str] = []
    done = 0
    for start, end in _find(text, secrets):
        parts += (text[done:start], MASK)
        done = end
    return "".join((*parts, text[done:]))


def _find(text: str, secrets: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return where a text contains secrets and the backslashes after them: starts and ends that do not overlap."""
    decoded, positions = _decode(text)
    contained = [secret for secret in _decode_all(secrets) if secret in decoded]
    found: list[tuple[int, int]] = []
    for start, end in sorted(span for secret in contained for span in _occurrences(decoded, secret)):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return [(positions[start], positions[end]) for start, end in found]


def _occurrences(text: str, secret: str) -> Iterator[tuple[int, int]]:
    start = text.find(secret)
    while start >= 0:
        yield start, start + len(secret)
        start = text.find(secret, start + len(secret))


@lru_cache(maxsize=16)
def _decode_all(secrets: tuple[str, ...]) -> frozenset[str]:
    """Return the secrets decoded, and keys also without their prefix."""
    # A short key without its prefix may be a word.
    keys = (re.sub(r"\A(?:mk|whsk)_", "", secret) for secret in secrets)
    texts = (*secrets, *(key for key in keys if len(key) >= SHORTEST_COMMON))
    decoded = ((len(text), _decode(text.strip())[0]) for text in texts)
    return frozenset(each for length, each in decoded if each and len(each) >= min(length, _SHORTEST_VALUE))


# A character as servers repeat it: percent-encoded, in HTML, or with backslashes as in JSON or a repr, also several
# times over. A plus sign may be a space.
_ENCODED = re.compile(
    r"%(?:25)*(?P<byte>[0-9a-f]{2})|&(?:amp;)*(?P<entity>#?[0-9a-z]{2,8});"
    r"|\\+(?:u(?P<unit>[0-9a-f]{4})|x(?P<code>[0-9a-f]{2}))?|[\s+]{2,}|[^\S ]|\+|[^\x00-\x7f]",
    re.IGNORECASE | re.ASCII,
)
#: Anything but printable ASCII without % & + and backslash. Most texts have none of them.
_UNUSUAL = re.compile(r"[^ !-$'-*,-\[\]-~]")
_SPACES = " +\t\n\r\f\v"


def _decode(text: str) -> tuple[str, Sequence[int]]:
    """
    Decode a text to compare it with other spellings: in lower case, as bytes of UTF-8, with one space for several.

    :returns: The decoded text, and the position of each of its characters in the original. The original's length is the
        last position.
    """
    if not _UNUSUAL.search(text) and "  " not in text:
        return text.lower(), range(len(text) + 1)
    parts: list[str] = []
    positions = array("q")
    done = 0
    for found in _ENCODED.finditer(text):
        start, end = found.span()
        char = _decoded_char(found)
        parts += (text[done:start], char)
        positions.extend(range(done, start))
        positions.extend([start] * len(char))
        done = end
    positions.extend(range(done, len(text) + 1))
    return "".join((*parts, text[done:])).lower(), positions


def _decoded_char(found: re.Match[str]) -> str:
    """Return what a match of :data:`_ENCODED` stands for, with one character for each byte of UTF-8."""
    if byte := found["byte"]:
        char = chr(int(byte, 16))
    elif entity := found["entity"]:
        char = html.unescape(f"&{entity};")
    elif code := found["unit"] or found["code"]:
        char = chr(int(code, 16))
    else:
        char = found[0]
    # A backslash escapes the next character, or is escaped itself.
    char = char.replace("\\", "")
    if char and not char.strip(_SPACES):
        return " "
    return char if byte else char.lower().encode("utf-8", "surrogatepass").decode("latin-1")


# Links

_URL = re.compile(
    r"(?P<head>://)(?P<userinfo>[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#;\"'<>]*)(?P<parameters>;[^\s?#\"'<>]+)?"
    r"(?P<query>\?[^\s#\"'<>]*)?(?P<fragment>#[^\s\"'<>]*)?"
)
# Schemes of object storage, where the part before the @ names an Airflow connection or Azure's container.
_STORAGE_SCHEME = re.compile(
    r"(?<![a-z])(?:s3[an]?|gs|gcs|abfss?|adls?|az|wasbs?|sftp|ssh|smb|hdfs|file)\Z", re.IGNORECASE
)
_MAX_SCHEME_LENGTH = 5
_STORAGE_USERINFO = re.compile(r"[\w.\-]+@")
# A password that contains a slash: the text after the colon is not a port.
_USERINFO_WITH_SLASH = re.compile(r"(?<=://)[^\s/?#:@\"'<>]{0,200}:(?!\d{0,5}/)[^\s\"'<>@]{0,500}@")
# A link that is percent-encoded once or several times, as the parameter of another link.
_ENCODED_URL = re.compile(
    r"(?P<head>%(?:25)*3A(?:%(?:25)*2F){2})"
    r"(?P<rest>(?:[^\s?#&\"'<>%]|%(?!(?:25)*(?:3F|23)))*)"
    r"(?P<query>%(?:25)*(?:3F|23)[^\s?#&\"'<>]*)?",
    re.IGNORECASE,
)
_ENCODED_USERINFO = re.compile(r"\A.*%(?:25)*40", re.IGNORECASE | re.DOTALL)
# A query without its link, as in an error of a storage host that quotes the requested path.
_QUERY = re.compile(r"(?P<mark>[?;])[\w.~%\-]+=[^\s#\"'<>]+")


def _mask_links(text: str) -> str:
    """Remove user and password from the links in a text, and mask queries, parameters and fragments."""
    text = _USERINFO_WITH_SLASH.sub("", text)
    text = _URL.sub(_mask_link, text)
    text = _ENCODED_URL.sub(_mask_encoded_link, text)
    return _QUERY.sub(rf"\g<mark>{MASK}", text)


def _mask_link(link: re.Match[str]) -> str:
    userinfo = link["userinfo"] or ""
    before = link.string[max(0, link.start() - _MAX_SCHEME_LENGTH - 1) : link.start()]
    if not (_STORAGE_USERINFO.fullmatch(userinfo) and _STORAGE_SCHEME.search(before)):
        userinfo = ""
    parts = (("parameters", ";"), ("query", "?"), ("fragment", "#"))
    masks = "".join(mark + MASK for part, mark in parts if link[part])
    return f"{link['head']}{userinfo}{link['rest']}{masks}"


def _mask_encoded_link(link: re.Match[str]) -> str:
    rest = _ENCODED_USERINFO.sub("", link["rest"], count=1)
    return f"{link['head']}{rest}{MASK if link['query'] else ''}"


# Characters

# Control characters, and characters that change the direction of text. A line feed and a tab are not among them.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """Escape control characters, except line feeds and tabs, and characters that change the direction of text."""
    if text.isprintable():
        return text
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
