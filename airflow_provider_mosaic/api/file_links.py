"""
Links to files: where they may lead, how they are signed, when they expire, and what in them is secret.

A worker is inside of a private network. A link to a metadata service or an internal host would make it send requests
there. The policy permits only https to a public address.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlunsplit

from airflow_provider_mosaic.api.arguments import split_url
from airflow_provider_mosaic.api.media_types import media_type_of_suffix
from airflow_provider_mosaic.api.redaction import SHORTEST_COMMON, values

Address = IPv4Address | IPv6Address

# An explicit list, because ``is_global`` and ``is_private`` differ between versions of Python
# (https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry).
_NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3", "2001::/23", "2001:db8::/32", "3fff::/20",
        "168.63.129.16/32",  # Azure's platform services
    )
)  # fmt: skip
_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
# Names that public resolvers do not know (https://www.iana.org/assignments/special-use-domain-names).
_LOCAL_DOMAINS = frozenset({"localhost", "local", "internal", "localdomain", "lan", "home", "corp", "intranet", "svc"})
# No top-level domain is a number. A proxy may read such a name as an address ("10.0.0.1.", "0x7f.1.").
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, kw_only=True)
class LinkPolicy:
    """
    Hosts that files may be read from or sent to.

    :param loopback: Whether to allow this machine, also over http. True if the API is on it, too.
    :param private: Whether to allow private networks, also over http.
    :param written: A link that the author of the DAG wrote. Its host is allowed, over http only if the link is http.
    """

    loopback: bool = False
    private: bool = False
    written: str | None = None

    def refusal(self, host: str, address: str | None, *, secure: bool) -> str | None:
        """
        Return why a host is not allowed; None if it is allowed.

        :param host: Name in the link.
        :param address: IP address to connect to; None if a proxy resolves the name.
        :param secure: Whether the link is https.
        """
        if self._is_written(host, secure=secure):
            return None
        real = _embedded_ipv4(ip_address(address.partition("%")[0])) if address else None
        is_public = _is_public(real) if real else not _is_local_name(host)
        is_this_machine = real.is_loopback if real else _is_localhost(host)
        if not (is_public or self.private or (self.loopback and is_this_machine)):
            return f"{host} is not a public address" + (f" ({address})" if address and address != host else "")
        if not (secure or self.loopback or (self.private and not is_public)):
            return f"http://{host} is not https"
        return None

    def _is_written(self, host: str, *, secure: bool) -> bool:
        if self.written is None:
            return False
        parts = split_url(self.written)
        return _normalize(host) == _normalize(parts.hostname or "") and (secure or parts.scheme.lower() == "http")


#: Policy for links of unknown origin.
PUBLIC = LinkPolicy()


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC)


def _embedded_ipv4(address: Address) -> Address:
    """Return the IPv4 address that is embedded in an IPv6 address; without one, the address itself."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner or address
    return address


def _is_local_name(host: str) -> bool:
    """Return whether a name can only be that of a host in a local network."""
    name = _normalize(host)
    _, dot, last = name.rpartition(".")
    return not dot or last in _LOCAL_DOMAINS or bool(_NUMBER.fullmatch(last)) or name.endswith(".home.arpa")


def _is_localhost(host: str) -> bool:
    return _normalize(host).rpartition(".")[2] == "localhost"


def _normalize(host: str) -> str:
    name = host.strip("[]").rstrip(".").lower()
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


# Signatures

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
        pairs = parse_qsl(split_url(url).query)
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


def fingerprint(request: Any) -> str:
    """
    Return a hash of a request. It ignores the signatures of links, which change with each rendering of a template.

    :param request: Any value that JSON can express.
    """
    text = json.dumps(_unsigned(request), sort_keys=True, ensure_ascii=False, default=str)
    # The name of a file may contain lone surrogates.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _unsigned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _unsigned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_unsigned(item) for item in value]
    if isinstance(value, str) and value.lower().startswith(("http://", "https://")):
        try:
            parts = split_url(value)
            query = parse_qsl(parts.query, keep_blank_values=True)
        except ValueError:
            # Not a URL, although it starts like one.
            return value
        kept = [(name, item) for name, item in query if not is_signature(name)]
        return urlunsplit(parts._replace(query=urlencode(kept, errors="surrogatepass")))
    return value


# Secrets

#: Most values of one link that are masked.
_MAX_VALUES = 500


def link_secrets(*links: str, path: bool = True) -> tuple[str, ...]:
    """
    Return the values of signed links that give access: those of the query, parameters and path.

    A storage host may repeat any of them in a response. The name of a file is no secret, unless it signs the link.

    :param path: Whether to include the path, which may contain ids that messages name.
    """
    shown = links if path else [re.sub(r"(?<=://)[^;?#]*", "", link, count=1) for link in links]
    return tuple(dict.fromkeys(value for link in shown for value in _link_values(link)))[:_MAX_VALUES]


def _link_values(link: str, depth: int = 3) -> Iterator[str]:
    """Yield the values of a link, and those of the links in its parameters, ``depth`` levels deep."""
    rest = link.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    target = rest[len(authority) :]
    userinfo = authority.rpartition("@")[0]
    before, _, query = target.partition("?")
    path, *parameters = before.split(";")
    query, _, fragment = query.partition("#")
    pairs = [pair for part in (*parameters, query, fragment) for pair in re.split("[&;]", part)]
    named = [(name, value) if equals else ("", name) for name, equals, value in (pair.partition("=") for pair in pairs)]
    parts = [value for name, value in named if is_signature(name) or not _is_file_name(value)]
    *folders, name = path.split("/")
    if "." not in name:
        # With a suffix, it is a file name, which messages show.
        folders.append(name)
    folders = [part for part in folders if len(part) >= SHORTEST_COMMON]
    yield from values([target, query, fragment, userinfo, userinfo.partition(":")[2], *parts, *folders])
    for part in parts:
        inner = unquote(part)
        if depth and "://" in inner:
            yield from _link_values(inner, depth - 1)


#: A name without separators, which a link or a path would have.
_FILE_NAME = re.compile(r"[^/\\?#&=;:%@]{1,255}\.[A-Za-z0-9]{2,5}")


def _is_file_name(value: str) -> bool:
    """Return whether a value is the name of a file: messages show it, as they do at the end of a path."""
    name = unquote(value) if "." in value else ""
    return bool(_FILE_NAME.fullmatch(name) and media_type_of_suffix(name))
