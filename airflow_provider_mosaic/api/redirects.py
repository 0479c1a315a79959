"""Follow the redirects of a call with the API key: only to the same host, and only if that repeats no effect."""

from __future__ import annotations

from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from airflow_provider_mosaic.api.access import AUTHORITY
from airflow_provider_mosaic.api.responses import Response

#: Requests of one call.
MOST_REDIRECTS = 5
_THAT_KEEP_THE_REQUEST = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, *_THAT_KEEP_THE_REQUEST})


class Redirects:
    """
    The redirects of one call.

    Of a redirect to the same host, only path and query are used. A request with effects follows only 307 and 308, which
    guarantee that nothing was done and that method and body stay the same.
    """

    def __init__(self, method: str, url: str) -> None:
        #: Where to send the call next.
        self.url = url
        #: Why a redirect to the same host was not followed, and what to do; empty for other responses.
        self.why_not_followed = ""
        self._method = method
        self._left = MOST_REDIRECTS

    def follow(self, response: Response) -> bool:
        """Return whether a response redirects the call to a new :attr:`url`."""
        target, here = _target_of(response, self.url), urlsplit(self.url)
        if target is None or target.hostname != here.hostname:
            return False
        if (here.scheme, target.scheme) == ("http", "https"):
            port = f":{target.port}" if target.port not in (None, 443) else ""
            host = f"[{target.hostname}]" if ":" in str(target.hostname) else target.hostname
            self.why_not_followed = (
                "It redirects to https, and nothing was sent there. Write "
                f"https://{host}{port} as the connection's host."
            )
            return False
        if _origin(target) != _origin(here):
            return False
        if self._method != "GET" and response.status not in _THAT_KEEP_THE_REQUEST:
            reason = f"A {response.status} turns a {self._method} into a GET, so it was not followed."
            if (target.path, target.query) == (f"{here.path}/", here.query):
                self.why_not_followed = (
                    f"It redirects to the same path with a slash at its end. {reason} Let the server, or the proxy "
                    "before it, accept the path without the slash."
                )
            else:
                self.why_not_followed = (
                    f"It redirects to another path on the same host. {reason} Check the connection's host."
                )
            return False
        self._left -= 1
        if not self._left:
            self.why_not_followed = (
                f"It redirected {MOST_REDIRECTS} times on the same host, and the request was not carried out. Check "
                "the server, or the proxy before it."
            )
            return False
        self.url = urlunsplit((here.scheme, here.netloc, target.path or "/", target.query, ""))
        return True


def _target_of(response: Response, url: str) -> SplitResult | None:
    """Return the target of a redirect; None if there is none, or libraries would disagree about its host."""
    location = response.headers.get("location")
    if response.status not in _REDIRECTS or not location:
        return None
    if not location.isascii() or not location.isprintable() or " " in location or "\\" in location:
        return None
    try:
        target = urlsplit(urljoin(url, location))
        target.port  # noqa: B018 - raises ValueError for an invalid port
    except ValueError:
        return None
    return target if AUTHORITY.fullmatch(target.netloc) else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    port = {"http": 80, "https": 443}.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port
