"""Links and redirects into the worker's private network."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.assets import UploadForm
from airflow_provider_mosaic.api.errors import (
    MosaicError,
    MosaicResponseError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.file_links import PUBLIC, LinkPolicy
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients import download as downloading
from airflow_provider_mosaic.clients import upload as uploading
from airflow_provider_mosaic.clients.destinations import local_destination
from airflow_provider_mosaic.clients.sources import local_source, read_blocks, url_source

from .authorities import Authority
from .on_loopback import LOOPBACK
from .servers import ForwardProxy, HostileServer, Listener, answer
from .storage_endpoints import file

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("plain_environment")]

CONTENT = b"a film" * 1000
#: Combining marks, which urlsplit sorts: those of a long host for minutes, while signals and other threads wait.
MARKS = "\u0301\u0316"


class Inner(Listener):
    """A private host that counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        self.connections += 1
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: video/mp4\r\n\r\nsecret")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return the addresses of fake host names: one for each lookup, the last one repeated."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **kwargs: Any) -> Any:
        listed = known.get(host)
        return real(host if listed is None else listed.pop(0) if len(listed) > 1 else listed[0], *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return known


def download(url: str, tmp_path: Path, policy: LinkPolicy) -> Any:
    return downloading.fetch(lambda: url, local_destination(tmp_path / "x.mp4"), policy=policy, retries=ONCE)


def read_info(url: str, tmp_path: Path, policy: LinkPolicy) -> Any:
    return downloading.read_file_info(lambda: url, policy=policy, retries=ONCE)


def measure(url: str, tmp_path: Path, policy: LinkPolicy) -> Any:
    return downloading.measure(lambda: url, max_bytes=10**6, policy=policy, retries=ONCE)


def upload(url: str, tmp_path: Path, policy: LinkPolicy) -> Any:
    path = tmp_path / "up.mp4"
    path.write_bytes(CONTENT)
    form = UploadForm(asset_id="a", upload_url=url, upload_fields={"key": "k"})
    return uploading.send_form(form, local_source(path), "video/mp4", policy=policy)


Transfer = Callable[[str, Path, LinkPolicy], Any]
each_transfer = pytest.mark.parametrize("transfer", [download, read_info, measure, upload])


@each_transfer
@pytest.mark.parametrize(
    "written", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0", "n.test"]
)
def test_private_host_is_rejected_without_a_connection(
    transfer: Transfer, written: str, tmp_path: Path, names: dict[str, list[str]]
) -> None:
    names["n.test"] = ["127.0.0.1"]
    with Inner() as inner, pytest.raises(MosaicResponseError, match="Nothing was sent there") as caught:
        transfer(f"https://{written}:{inner.port}/latest/meta-data?sig=cafe", tmp_path, PUBLIC)
    assert inner.connections == 0
    assert "allow_private_storage" in str(caught.value)
    assert "cafe" not in str(caught.value)
    assert not caught.value.transient


@each_transfer
@pytest.mark.parametrize("user", ["%E2%82%AC:hush", "u:%E2%82%AChush"])
def test_a_password_that_http_cannot_send_is_rejected(transfer: Transfer, tmp_path: Path, user: str) -> None:
    with pytest.raises(MosaicResponseError, match="has characters that HTTP does not allow") as caught:
        transfer(f"https://{user}@storage.example.com/cut.mp4", tmp_path, PUBLIC)
    assert "hush" not in str(caught.value)


@each_transfer
@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..b.com"])
def test_a_host_that_is_no_name_is_rejected_behind_a_proxy(
    transfer: Transfer, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Inner() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
            transfer(f"https://{host}/cut.mp4", tmp_path, PUBLIC)
    assert (caught.value.transient, proxy.connections) == (False, 0)


@each_transfer
@pytest.mark.parametrize(
    "link",
    [
        pytest.param(f"https://{MARKS * 8_000}/x", id="combining marks"),
        pytest.param(f"https://{MARKS * 250_000}/x", id="many combining marks"),
        pytest.param(f"https://{''.join(map(chr, range(0x4E00, 0x4E00 + 16_000)))}/x", id="different letters"),
        pytest.param(f"https://storage.example/{'a' * 16_384}", id="long path"),
    ],
)
def test_long_hosts_and_links_are_rejected(transfer: Transfer, link: str, tmp_path: Path) -> None:
    with pytest.raises(MosaicResponseError, match="its host is invalid, or it has more than 16,384 characters"):
        transfer(link, tmp_path, PUBLIC)


@each_transfer
def test_an_internationalized_host_is_reached(transfer: Transfer, tmp_path: Path, names: dict[str, list[str]]) -> None:
    names["xn--mnchen-3ya.test"] = ["127.0.0.1"]
    with HostileServer(answer(204) if transfer is upload else file(CONTENT)) as host:
        transfer(f"http://münchen.test:{host.port}/cut.mp4", tmp_path, LOOPBACK)
    assert host.count == 1


@each_transfer
def test_http_links_are_rejected(transfer: Transfer, tmp_path: Path) -> None:
    with pytest.raises(MosaicResponseError, match="not https"):
        transfer("http://8.8.8.8/cut.mp4", tmp_path, PUBLIC)


@each_transfer
def test_host_is_resolved_once(
    transfer: Transfer, tmp_path: Path, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []

    def refuse(connection: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    names["rebinding.test"] = ["8.8.8.8", "127.0.0.1"]
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(MosaicError, match="could not be reached"):
        transfer("https://rebinding.test/cut.mp4", tmp_path, PUBLIC)
    assert connected == [("8.8.8.8", 443)]


def test_only_public_addresses_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connected: list[Any] = []

    def refuse(connection: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("10.0.0.5", "8.8.8.8", "8.8.4.4")]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: found if host == "two.test" else real(host, *rest, **more)
    )
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(MosaicError, match="could not be reached"):
        download("https://two.test/cut.mp4", tmp_path, PUBLIC)
    assert connected == ["8.8.8.8", "8.8.4.4"]


@pytest.mark.parametrize("transfer", [download, read_info, measure])
@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.5/x",
        "https://169.254.169.254/x",
        "//0.0.0.0:{port}/x",
        "http://[",
        pytest.param(f"http://{MARKS * 1_000}/x", id="long host"),
    ],
)
def test_redirect_to_a_private_host_is_rejected(transfer: Transfer, location: str, tmp_path: Path) -> None:
    with Inner() as inner:
        with (
            HostileServer(answer(302, Location=location.format(port=inner.port))) as host,
            pytest.raises(MosaicResponseError),
        ):
            transfer(f"{host.url}/cut.mp4", tmp_path, LOOPBACK)
        assert host.count == 1
    assert inner.connections == 0


@each_transfer
@pytest.mark.parametrize("link", ["file:///etc/passwd", "http://[", "gopher://127.0.0.1/", "/cut.mp4", ""])
def test_links_that_are_not_http_are_rejected(transfer: Transfer, link: str, tmp_path: Path) -> None:
    with pytest.raises(MosaicResponseError, match="not an HTTP URL"):
        transfer(link, tmp_path, LOOPBACK)


@each_transfer
def test_private_storage_can_be_allowed(transfer: Transfer, tmp_path: Path) -> None:
    reply = answer(204) if transfer is upload else file(CONTENT)
    with HostileServer(reply) as host:
        transfer(f"{host.url}/cut.mp4", tmp_path, LinkPolicy(private=True))
    assert host.count == 1


def test_certificate_is_checked_against_the_host_name(
    tmp_path: Path, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    context: ssl.SSLContext = authority.server_context("storage.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    names["storage.test"] = names["other.test"] = ["127.0.0.1"]
    with HostileServer(file(CONTENT), tls=context) as host:
        assert download(f"https://storage.test:{host.port}/cut.mp4", tmp_path, LOOPBACK) == len(CONTENT)
        with pytest.raises(MosaicError, match=r"(?i)certificate"):
            download(f"https://other.test:{host.port}/cut.mp4", tmp_path, LOOPBACK)
    assert host.seen[0].headers["host"] == f"storage.test:{host.port}"


# --- sources ---


def test_source_may_be_on_a_private_host() -> None:
    with HostileServer(answer(302, Location="/files/cut.mp4"), file(CONTENT)) as host:
        source = url_source(f"{host.url}/share")
        assert b"".join(map(bytes, read_blocks(source))) == CONTENT


@pytest.mark.parametrize("later", [False, True])
def test_source_may_not_redirect_to_another_private_host(later: bool) -> None:
    with Inner() as inner:
        away = answer(302, Location=f"https://localhost:{inner.port}/latest/meta-data")
        with HostileServer(*([file(CONTENT)] if later else []), away) as host:
            with pytest.raises(MosaicValidationError, match="localhost is not a public address"):
                list(read_blocks(url_source(f"{host.url}/cut.mp4")))
            assert host.count == 1 + later
    assert inner.connections == 0


def test_source_redirects_follow_the_connection_policy() -> None:
    with HostileServer(file(CONTENT)) as there:
        away = answer(302, Location=f"http://localhost:{there.port}/cut.mp4")
        with HostileServer(away) as host:
            assert url_source(f"{host.url}/cut.mp4", policy=LOOPBACK).size == len(CONTENT)


# --- proxies ---


@each_transfer
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.0.0%2e1",
        "127.0.0.%31",
        "2130706433",
        "0x7f.1",
        "0x7f.1.",
        "[fd00:ec2::254]",
        "localhost",
        "metadata.google.internal",
        "metadata.google.%69nternal",
        "kubernetes.default.svc",
    ],
)
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_proxy_is_not_asked_for_a_private_host(
    transfer: Transfer, host: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy(upstream=9) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with pytest.raises(MosaicResponseError, match="Nothing was sent there"):
            transfer(f"{scheme}://{host}/cut.mp4", tmp_path, PUBLIC)
    assert proxy.seen == []


def test_proxy_may_be_on_a_private_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with (
        HostileServer(file(CONTENT), tls=authority.server_context("storage.test")) as host,
        ForwardProxy(upstream=host.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert download("https://storage.test/cut.mp4", tmp_path, PUBLIC) == len(CONTENT)
    assert proxy.seen[0].method == "CONNECT"
