"""What a fault of an HTTP library means: can the request have arrived, and may it pass by itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicResponseError, MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line

#: Bytes that are read of the body of an error.
_MOST_OF_AN_ERROR = 64 * 1024
#: Chunks of one answer. Each costs the event loop as much as 10 KiB of a whole one, however little is in it.
_MOST_CHUNKS = 20_000

_Kinds = tuple[type[BaseException], ...]


class AnswerTooSlow(TimeoutError):  # noqa: N818 - it never leaves this layer
    """An answer trickled in for longer than a call may take."""


class Body:
    """
    The body of an answer while it comes, as it comes: nothing is decompressed.

    :param call: What was asked.
    :param status: The HTTP status. Of an error only the beginning is kept.
    """

    def __init__(self, call: Call[Any], status: int) -> None:
        self._call = call
        self._status = status
        self._good = 200 <= status < 300
        self._content = bytearray()
        self._most = call.max_bytes if self._good else _MOST_OF_AN_ERROR
        self.chunks = 0

    @property
    def content(self) -> bytes:
        """What there is of it."""
        return bytes(self._content[: self._most])

    def add(self, block: bytes) -> bool:
        """
        Add a block, and return whether more is needed.

        :raises MosaicResponseError: It is longer than any answer to this call.
        """
        self._content += block
        self.chunks += 1
        if len(self._content) <= self._most and self.chunks <= _MOST_CHUNKS:
            return True
        if not self._good:
            return False
        size = f"{self._most // 1024 // 1024} MiB" if len(self._content) > self._most else f"{_MOST_CHUNKS:,} chunks"
        raise MosaicResponseError(
            f"Could not {self._call.description}: {self._call.method} {self._call.path} answered {self._status} with "
            f"more than {size}, which is no response of the API: check the connection's host.",
            status=self._status,
            method=self._call.method,
            path=self._call.path,
        )


@dataclass(frozen=True, kw_only=True)
class ErrorMapper:
    """
    The faults of one HTTP library, beside those of Python itself. Each transport names its own, so that a triggerer
    does not load what workers send with.

    :param unreached: No connection was ever made, so nothing can have arrived.
    :param permanent: Waiting mends none of these.
    :param timeouts: No answer came in time.
    """

    unreached: _Kinds
    permanent: _Kinds
    timeouts: _Kinds

    def error(
        self, error: BaseException, *, what: str, method: str, path: str, secrets: Iterable[str] = ()
    ) -> MosaicTransportError:
        """
        The exception for a request that got no answer.

        :param error: What the HTTP library raised.
        :param what: What was asked, as it follows "could not".
        :param method: HTTP method.
        :param path: Path template.
        :param secrets: What the server may repeat, as in a status line that can't be read.
        """
        chain = list(_chain(error))
        unreached = any(
            isinstance(link, (ssl.SSLCertVerificationError, *self.unreached)) or _is_refused_tunnel(link)
            for link in chain
        )
        if unreached:
            how = "the server could not be reached"
        elif any(isinstance(link, (TimeoutError, asyncio.TimeoutError, *self.timeouts)) for link in chain):
            how = "no answer came in time"
        else:
            how = "the connection broke before the answer was whole"
        return MosaicTransportError(
            f"Could not {what}: {method} {path}: {how} ({self._reason(chain[-1], secrets)}).",
            method=method,
            path=path,
            transient=not any(isinstance(link, (ssl.SSLCertVerificationError, *self.permanent)) for link in chain),
            effect_unknown=not unreached,
        )

    def _reason(self, error: BaseException, secrets: Iterable[str]) -> str:
        # An address that can't be parsed may be a proxy's, and what is quoted of it a part of the password.
        told = error.args[-1] if error.args and not isinstance(error, self.permanent) else ""
        # urllib3 puts the repr of the connection in front of its words.
        words = one_line(str(told).rpartition(">: ")[2], secrets, longest=300)
        return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _is_refused_tunnel(error: BaseException) -> bool:
    """
    Whether a proxy did not let us through.

    urllib3's ProxyError does not tell: it names everything so that breaks behind a proxy, also an answer that got lost.
    """
    # The words of http.client, the only sign that it gives.
    return type(error) is OSError and str(error).startswith("Tunnel connection failed")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and the errors that it wraps, however the libraries keep them, from the outermost to the innermost."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        held = (getattr(link, "reason", None), *link.args, link.__cause__, link.__context__)
        # urllib3 1.26 tries an argument of Python 2 first: the TypeError for it is the context of all that follows.
        link = next((it for it in held if isinstance(it, BaseException) and not isinstance(it, TypeError)), None)
