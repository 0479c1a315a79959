"""Public addresses of a post, for logs, XCom and links."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl

from airflow_provider_mosaic.api.arguments import split_url
from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.file_links import is_signature
from airflow_provider_mosaic.api.redaction import label, masked

#: Characters of the longest address.
_MAX_LENGTH = 2_000
#: Addresses of one post. There are six platforms, each with a few accounts.
_MAX_URLS = 50


@dataclass(frozen=True, kw_only=True)
class PublicUrl:
    """Address of a post at one destination. ``platform`` and ``account`` are None if Mosaic did not report them."""

    platform: str | None
    account: str | None
    url: str

    @property
    def name(self) -> str:
        """Platform and account, for the log."""
        return " ".join(filter(None, (self.platform, f"({self.account})" if self.account else ""))) or "unknown"

    def as_row(self) -> dict[str, str | None]:
        """Return a dict for XCom."""
        return asdict(self)


def public_urls(post: Post) -> tuple[PublicUrl, ...]:
    """
    Return the public addresses of a post that Mosaic reports.

    The field with the addresses is not documented (https://docs.mosaic.so/api/social/get-social-post), so this reads
    each field that ever had one. It leaves out signed and invalid addresses.
    """
    found: dict[str, PublicUrl] = {}
    for destination in post.places:
        url = destination.post_url
        if url and url not in found and len(found) < _MAX_URLS and is_public(url):
            account = destination.account_username or destination.account_name
            found[url] = PublicUrl(platform=_label(destination.platform), account=_label(account), url=url)
    return tuple(found.values())


def _label(text: str | None) -> str | None:
    return label(text) if text else None


def is_public(url: str) -> bool:
    """Return whether an address may be shown and stored: of the web, short, and without a signature."""
    if len(url) > _MAX_LENGTH or not url.isprintable() or " " in url or "\\" in url or masked(url) != url:
        return False
    try:
        parts = split_url(url)
        host, query = parts.hostname, parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return False
    return (
        parts.scheme.lower() in ("http", "https")
        and bool(host)
        and "@" not in parts.netloc
        and not any(is_signature(name) for name, _ in query)
    )
