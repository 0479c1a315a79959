"""A certificate authority for one test run, and the certificates that it signs."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAME = "mosaic test authority"


class Authority:
    """
    A certificate authority that no client trusts by default.

    :param place: A folder for its files.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
        certificate = (
            _draft(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(signs=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        text = certificate.public_bytes(serialization.Encoding.PEM)
        #: The authority's certificate as a file.
        self.file = place / "authority.pem"
        self.file.write_bytes(text)
        #: The same in a directory, under the name that OpenSSL expects.
        self.folder = place / "authorities"
        self.folder.mkdir()
        (self.folder / f"{_hash_of(_NAME)}.0").write_bytes(text)

    def server_context(self, *hosts: str) -> ssl.SSLContext:
        """Return the TLS context of a server for ``hosts``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host) for host in hosts
        ]
        certificate = (
            _draft(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]), self._name, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._place / f"{hosts[0]}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _hash_of(name: str) -> str:
    """Return the hash of a common name, as ``openssl x509 -hash`` does."""
    value = bytes([0x0C, len(name)]) + name.encode()
    pair = bytes([0x06, 3, 0x55, 4, 3]) + value
    entry = bytes([0x30, len(pair)]) + pair
    canonical = bytes([0x31, len(entry)]) + entry
    return f"{int.from_bytes(hashlib.sha1(canonical).digest()[:4], 'little'):08x}"
