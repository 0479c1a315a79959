"""Where a post is out, for logs, XCom and links."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_mosaic.api.endpoints.social import Destination, Post
from airflow_provider_mosaic.api.redaction import holds_known_secret, label
from airflow_provider_mosaic.api.signatures import signs

#: Characters of the longest address.
_LONGEST = 2_000
#: Destinations of a post at most; there are six platforms.
_MOST = 50


@dataclass(frozen=True, kw_only=True)
class PublicUrl:
    """
    The address of a post at one destination.

    :param platform: The platform, if Mosaic has told it.
    :param account: The account, if Mosaic has told it.
    :param url: The address.
    """

    platform: str | None
    account: str | None
    url: str

    @property
    def name(self) -> str:
        """The destination, as the log names it."""
        return " ".join(filter(None, (self.platform, f"({self.account})" if self.account else ""))) or "unknown"

    def as_row(self) -> dict[str, str | None]:
        """The same for XCom."""
        return asdict(self)


def public_urls(post: Post) -> tuple[PublicUrl, ...]:
    """
    Return where a post is out, as far as Mosaic tells addresses.

    How the result's fields are called is not documented (https://docs.mosaic.so/api/social/get-social-post), so each
    list that has ever had an address is read. An address that is signed or not public is left out.

    :param post: The post.
    """
    found: dict[str, PublicUrl] = {}
    for place in (*post.destinations, *post.results, *post.links):
        url = place.post_url
        if url and url not in found and len(found) < _MOST and _is_public(url):
            found[url] = PublicUrl(platform=_text(place.platform), account=_account(place), url=url)
    return tuple(found.values())


def _account(place: Destination) -> str | None:
    return _text(place.account_username or place.account_name)


def _text(words: str | None) -> str | None:
    return label(words) if words else None


def _is_public(url: str) -> bool:
    if len(url) > _LONGEST or not url.isprintable() or " " in url or "\\" in url or holds_known_secret(url):
        return False
    try:
        parts = urlsplit(url)
        host, query = parts.hostname, parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return False
    return (
        parts.scheme.lower() in ("http", "https")
        and bool(host)
        and "@" not in parts.netloc
        and not any(signs(name) for name, _ in query)
    )
