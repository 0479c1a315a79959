"""Read when a signed link expires from the link itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

#: Parameters with the time of signing and the lifetime in seconds: Google Cloud Storage, Amazon S3, Alibaba OSS.
_SIGNED_AT = (
    ("x-goog-date", "x-goog-expires"),
    ("x-amz-date", "x-amz-expires"),
    ("x-oss-date", "x-oss-expires"),
)


def expiry_of(url: str) -> datetime | None:
    """Return when a link expires; None if the link does not show it."""
    try:
        pairs = parse_qsl(urlsplit(url).query)
    except ValueError:
        return None
    query = {name.lower(): value for name, value in pairs}
    try:
        for signed, lasts in _SIGNED_AT:
            if signed in query and lasts in query:
                moment = datetime.strptime(query[signed], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
                return moment + timedelta(seconds=int(query[lasts]))
        if "sig" in query and "se" in query:  # Azure
            moment = datetime.fromisoformat(query["se"].replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        if "signature" in query and "expires" in query:  # older signatures of Google and Amazon, and CloudFront
            return datetime.fromtimestamp(int(query["expires"]), timezone.utc)
    except (ValueError, OverflowError, OSError):
        # A parameter with such a name and another meaning.
        return None
    return None
