"""An API and a storage host that repeat every secret of a request in every part of a response."""

from __future__ import annotations

import base64
import json
import logging
import re
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, quote_plus

from airflow_provider_mosaic.api.errors import MosaicError

from .servers import Listener, Seen, read_request

# None of these has the pattern of a secret: masking must not depend on it.
KEY = "plainkey77c1e0"
FIELDS = {
    "key": "org/upload4411/film",
    "policy": base64.b64encode(b'{"conditions": ["policy5512"]}').decode(),
    "x-goog-signature": "fieldsign66a3",
    "x-goog-credential": "robot@credential8/auto",
}
QUERY = {"X-Goog-Signature": "querysign31f0", "X-Goog-Credential": "reader/querycred92", "t": "short7"}
FOLDER = "pathtoken5e21ab"
PARAMETER = "jwtparam0c9d"
PROXY_PASSWORD = "proxy/pass61d0"
COOKIE = "cookiemark28ee"

LINK_TARGET = f"/{FOLDER}/film.mp4;jwt={PARAMETER}?" + "&".join(f"{name}={quote(v, '')}" for name, v in QUERY.items())
FORM_TARGET = "/bucket?upload_id=formquery74ba"
SECRETS = (KEY, *FIELDS.values(), *QUERY.values(), FOLDER, PARAMETER, "formquery74ba", PROXY_PASSWORD, COOKIE)
OF_FORM = (*FIELDS.values(), "formquery74ba")
OF_LINK = (*QUERY.values(), FOLDER, PARAMETER)


def _escaped(secret: str, form: str) -> str:
    return "".join(char if char.isalnum() else form.format(ord(char)) for char in secret)


def spellings(secret: str) -> tuple[str, ...]:
    """Return a secret in the encodings of URLs, HTML and JSON."""
    return (
        secret,
        quote(secret, ""),
        quote_plus(secret).lower(),
        quote(quote(quote(secret, ""), ""), ""),
        json.dumps(secret)[1:-1],
        _escaped(secret, "&#x{:X};"),
        _escaped(secret, "&#{};"),
        _escaped(secret, "\\u{:04x}"),
        _escaped(secret, "\\\\x{:02x}"),
    )


def echo_of(*secrets: str) -> str:
    """Return secrets in all spellings."""
    return " ".join(dict.fromkeys(spelled for secret in secrets for spelled in spellings(secret)))


#: All secrets, for parts that are never shown: headers and reason phrases.
ECHO = echo_of(*SECRETS)
#: What one host received, for parts whose text is shown.
ECHO_OF_CALL = echo_of(KEY, PROXY_PASSWORD)
ECHO_OF_FORM = f"{echo_of(*OF_FORM)} {FORM_TARGET}"
ECHO_OF_LINK = f"{LINK_TARGET} {echo_of(*OF_LINK)}"

Answer = Callable[[Seen], bytes]


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        f"X-Echo: {ECHO}",
        f"Set-Cookie: id={COOKIE}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def refusals(status: int, echo: str) -> dict[str, Answer]:
    """Return error responses with the same text, each in another part."""
    xml = f"<Error><Code>Denied</Code><Message>{echo}</Message></Error>"
    bodies = {
        "detail": json.dumps({"detail": echo}),
        "list": json.dumps({"detail": [{"loc": [echo], "msg": echo}]}),
        "object": json.dumps({"sent": {echo: echo}}),
        "title": f"<html><title>{echo}</title>",
        "message": xml,
        "message in HTML's spelling": xml.replace("&", "&amp;").replace("/up", "&#47;up"),
        "code": f"<Code>{echo.split()[0]}</Code>",
        "reason": "",
    }
    return {name: _always(http(f"{status} {ECHO}", body.encode())) for name, body in bodies.items()}


def _always(answer: bytes) -> Answer:
    return lambda _: answer


def broken(echo: str) -> dict[str, Answer]:
    """Return malformed responses and redirects."""
    loud = echo.encode()
    host = re.sub("[^a-z0-9]", "", echo.split("=")[-1].split()[0])
    answers = {
        "status line": b"HTTP/1.1 " + loud + b"\r\n\r\n",
        "no HTTP": loud + b"\r\n\r\n",
        "header without a name": b"HTTP/1.1 503 No\r\n: " + loud + b"\r\n" + loud + b"\r\n\r\n",
        "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + loud + b"\r\n",
        "length": b"HTTP/1.1 503 No\r\nContent-Length: " + loud + b"\r\n\r\n{}",
        "coding": b"HTTP/1.1 200 OK\r\nContent-Encoding: " + loud + b"\r\nContent-Length: 3\r\n\r\n\x00{}",
        "redirect": http("302 Found", b"", f"Location: http://{host}.test{LINK_TARGET}"),
        "redirect off the web": http("302 Found", b"", f"Location: ftp://{host}.test/a?b"),
    }
    return {name: _always(answer) for name, answer in answers.items()}


def unparsable_headers(answer: bytes) -> bytes:
    """Add a header that urllib3 logs a warning about."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\nno header: at all\r\n" + f"{ECHO}\r\nSet-Cookie: id={COOKIE}".encode() + b"\r\n\r\n" + body


class EchoingServer(Listener):
    """
    A server with one kind of response.

    :param answer: Returns the response to a request.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.seen: list[Seen] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        request = read_request(connection)
        if request is not None:
            self.seen.append(request)
            connection.sendall(self._answer(request))


class _Everything(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.NOTSET)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        shown = logging.Formatter().format(record)
        self._lines.append(f"{record.name} {record.levelname} {shown} {record.__dict__!r}")


@contextmanager
def every_line() -> Iterator[list[str]]:
    """Collect the lines of all loggers at every level, also of those that do not propagate or are created later."""
    lines: list[str] = []
    handler = _Everything(lines)
    root = logging.getLogger()
    names = ("urllib3", "urllib3.connection", "urllib3.connectionpool", "httpx", "httpcore", "httpcore.http11")
    # With their own handlers, as a deployment may configure them.
    loggers = [root, *map(logging.getLogger, names), logging.getLogger("airflow_provider_mosaic")]
    before = [(logger, logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(1)
        logger.addHandler(handler)
        logger.disabled = False
    logging.getLogger("urllib3").propagate = False
    try:
        yield lines
    finally:
        for logger, level, propagate, disabled in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, disabled


def texts_of(error: BaseException) -> str:
    """Return all texts that a log could contain of an error."""
    parts = [*traceback.format_exception(error)]
    link: BaseException | None = error
    while link is not None:
        parts += [str(link), repr(link), repr(vars(link))]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(parts)


def outcome(action: Callable[[], object]) -> str:
    """Return all texts of what an action returns or raises."""
    try:
        return repr(action())
    except MosaicError as error:
        return texts_of(error)


def leaks(*texts: Any) -> dict[str, str]:
    """Return the secrets that texts contain in any encoding, each with its context."""
    found = {}
    for secret in SECRETS:
        for spelled in spellings(secret):
            for text in map(str, texts):
                at = text.find(spelled)
                if at >= 0:
                    found[secret] = text[max(0, at - 100) : at + 100]
    return found
