from __future__ import annotations

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.file_links import PUBLIC, LinkPolicy

NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.5",
    "100.100.100.200",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2001::1",
    "2001:db8::1",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
ANYWHERE = ["8.8.8.8", "172.15.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_private_address_is_rejected_in_any_notation(address: str) -> None:
    said = PUBLIC.refusal("storage.test", address, secure=True)
    assert said == f"storage.test is not a public address ({address})"
    assert LinkPolicy(private=True).refusal("storage.test", address, secure=False) is None


@pytest.mark.parametrize("address", ANYWHERE)
def test_public_address_is_allowed_over_https_only(address: str) -> None:
    for policy in (PUBLIC, LinkPolicy(private=True)):
        assert policy.refusal("storage.test", address, secure=True) is None
        assert policy.refusal("storage.test", address, secure=False) == "http://storage.test is not https"


def test_loopback_policy_allows_this_machine_only() -> None:
    policy = Access(api_key="mk_x", base_url="http://127.0.0.1:8765").link_policy
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "8.8.8.8"):
        assert policy.refusal("storage.test", address, secure=False) is None
    for address in ("10.0.0.5", "169.254.169.254", "::"):
        assert policy.refusal("storage.test", address, secure=True)


def test_private_addresses_need_allow_private_storage() -> None:
    assert Access(api_key="mk_x").link_policy == PUBLIC
    assert Access(api_key="mk_x", allow_private_storage=True).link_policy == LinkPolicy(private=True)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "metadata",
        "metadata.google.internal",
        "nas.local",
        "r.home.arpa",
        "kubernetes.default.svc",
        "10.0.0.1.",
        "10.0.0.0x1",
    ],
)
def test_local_host_names_are_rejected_behind_a_proxy(host: str) -> None:
    assert PUBLIC.refusal(host, None, secure=True) == f"{host} is not a public address"
    assert LinkPolicy(private=True).refusal(host, None, secure=False) is None


def test_other_host_names_are_left_to_the_proxy() -> None:
    assert PUBLIC.refusal("storage.test", None, secure=True) is None
    assert PUBLIC.refusal("storage.test", None, secure=False)
    assert LinkPolicy(loopback=True).refusal("localhost", None, secure=False) is None


def test_written_link_allows_its_host_with_its_scheme() -> None:
    policy = LinkPolicy(written="https://Bücher.Lan:8443/a.mp4")
    assert policy.refusal("xn--bcher-kva.lan", "10.0.0.5", secure=True) is None
    assert policy.refusal("xn--bcher-kva.lan", "10.0.0.5", secure=False)
    assert policy.refusal("other.lan", "10.0.0.5", secure=True)
    assert LinkPolicy(written="http://[fd00::1]/a").refusal("fd00::1", "fd00::1", secure=False) is None
