"""Read from a link itself how it is signed: which parameters are the signature, and when it expires."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

_PREFIXES = ("x-goog-", "x-amz-")
_NAMES = frozenset(
    {
        "expires", "signature", "sig", "token", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid",
        "se", "st", "sp", "sv", "sr", "spr", "ske", "skoid", "sks", "skt", "sktid", "skv", "hdnts", "hdnea",
        # Alibaba OSS; x-oss-process is not part of the signature
        "ossaccesskeyid", "security-token", "x-oss-signature-version", "x-oss-credential", "x-oss-date",
        "x-oss-expires", "x-oss-signature", "x-oss-security-token", "x-oss-additional-headers",
        # Tencent COS
        "q-sign-algorithm", "q-ak", "q-sign-time", "q-key-time", "q-header-list", "q-url-param-list", "q-signature",
        "x-cos-security-token",
        # Huawei OBS
        "accesskeyid", "x-obs-security-token",
    }
)  # fmt: skip
#: Parameters with the time of signing and the lifetime in seconds: Google Cloud Storage, Amazon S3, Alibaba OSS.
_SIGNED_AT = (
    ("x-goog-date", "x-goog-expires"),
    ("x-amz-date", "x-amz-expires"),
    ("x-oss-date", "x-oss-expires"),
)


def is_signature(name: str) -> bool:
    """Return whether a query parameter is part of the signature of a link."""
    return name.lower().startswith(_PREFIXES) or name.lower() in _NAMES


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
