"""The parameters by which storage hosts sign links."""

from __future__ import annotations

_PREFIXES = ("x-goog-", "x-amz-")
_NAMES = frozenset(
    {
        "expires", "signature", "sig", "token", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid",
        "se", "st", "sp", "sv", "sr", "spr", "ske", "skoid", "sks", "skt", "sktid", "skv", "hdnts", "hdnea",
        # Alibaba OSS; its x-oss-process is asked for and no signature
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
    """
    Return whether a parameter of a link is a part of its signature.

    :param name: The parameter's name.
    """
    return name.lower().startswith(_PREFIXES) or name.lower() in _NAMES
