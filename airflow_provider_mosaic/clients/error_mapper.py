"""The errors of HTTP libraries as errors of ours, by one rule for both transports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import MosaicTransportError
from airflow_provider_mosaic.api.redaction import one_line

_Classes = tuple[type[BaseException], ...]


#: How libraries work inside, which tells nothing about the cause. urllib3 1.26 first tries an argument of Python 2, and
#: its TypeError is the context of every later error. anyio ends a wait by cancelling it.
_INTERNAL = (TypeError, asyncio.CancelledError, ssl.SSLWantReadError)


class ResponseTooSlow(TimeoutError):  # noqa: N818 - its name is in messages
    """A response took too long, or came too slowly."""


@dataclass(frozen=True, kw_only=True)
class ErrorMapper:
    """
    Maps the errors of an HTTP library, and of Python's sockets, to errors of ours.

    Each transport has its own, so that a triggerer does not import the library of workers.

    :param unreachable: No connection was made, so the server received nothing.
    :param permanent: A retry cannot succeed.
    :param timeouts: No response came in time.
    """

    unreachable: _Classes
    permanent: _Classes
    timeouts: _Classes

    def call_error(
        self,
        error: BaseException,
        call: Call[Any],
        secrets: Iterable[str] = (),
        *,
        status: int = 0,
        handled: BaseException | None = None,
    ) -> MosaicTransportError:
        """
        Return the error for a call without a complete response.

        :param status: HTTP status, if the body is what is missing.
        :param secrets: Values to mask: a server can repeat them in a status line that is malformed.
        :param handled: See :meth:`error`.
        """
        action, method, path = call.description, call.method, call.path
        mapped = self.error(error, action=action, method=method, path=path, secrets=secrets, handled=handled)
        mapped.accepted = 200 <= status < 300
        return mapped

    def error(
        self,
        error: BaseException,
        *,
        action: str,
        method: str,
        path: str,
        secrets: Iterable[str] = (),
        handled: BaseException | None = None,
    ) -> MosaicTransportError:
        """
        Return the error for a request without a response.

        :param action: What the request does, as it follows "could not".
        :param path: Path template, or the host.
        :param handled: What the caller handled when it sent the request (``sys.exc_info()``). Python makes it the
            context of every error of the request, although it tells nothing about it.
        """
        chain = list(_chain(error, handled))

        def has(*classes: type[BaseException]) -> bool:
            return any(isinstance(link, classes) for link in chain)

        unreachable = has(ssl.SSLCertVerificationError, *self.unreachable) or any(map(_is_rejected_tunnel, chain))
        if unreachable:
            reason = "the server could not be reached"
        elif has(TimeoutError, asyncio.TimeoutError, *self.timeouts):
            reason = "no response came in time"
        else:
            reason = "the connection failed before the response was complete"
        return MosaicTransportError(
            f"Could not {action}: {method} {path}: {reason} ({self._describe(chain[-1], secrets)}).",
            method=method,
            path=path,
            transient=not has(ssl.SSLCertVerificationError, *self.permanent),
            effect_unknown=not unreachable,
        )

    def _describe(self, error: BaseException, secrets: Iterable[str]) -> str:
        # A URL that can't be parsed may be a proxy's, and the quoted part may be its password.
        message = error.args[-1] if error.args and not isinstance(error, self.permanent) else ""
        # urllib3 puts the repr of the connection before its message.
        text = one_line(str(message).rpartition(">: ")[2], secrets, longest=300)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_rejected_tunnel(error: BaseException) -> bool:
    """Return whether a proxy rejected the request. urllib3's ProxyError covers responses that were lost, too."""
    # http.client gives no other sign than this text.
    return type(error) is OSError and str(error).startswith("Tunnel connection failed")


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, in the ways of all libraries, from the outermost to the innermost."""
    seen = {id(handled)}
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        wrapped = (getattr(link, "reason", None), *link.args, link.__cause__, link.__context__)
        link = next((it for it in wrapped if isinstance(it, BaseException) and not isinstance(it, _INTERNAL)), None)
