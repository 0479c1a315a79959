"""Query parameters that are part of the signature of a link."""

from __future__ import annotations

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


def signs(name: str) -> bool:
    """Return whether a query parameter is part of the signature of a link."""
    return name.lower().startswith(_PREFIXES) or name.lower() in _NAMES
