from __future__ import annotations

import re
import socket
import ssl
from pathlib import Path

import pytest

from airflow_provider_mosaic import __version__
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.retries import ONCE, RetryPolicy
from airflow_provider_mosaic.clients.environment import proxy_for

from .authorities import Authority
from .servers import ForwardProxy, HostileServer, Reply, answer, hang_up, reset
from .transports import KEY, SHORT, Transport, access_to, paid_call

#: A name that only the proxy can resolve (https://www.rfc-editor.org/rfc/rfc6761).
HOST = "mosaic.test"
STARTED = {"run_id": "run-1"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> ssl.SSLContext:
    return authority.server_context("127.0.0.1", HOST)


@pytest.fixture
def trusting(authority: Authority, plain_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


# Proxies


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_http_uses_the_proxy(transport: Transport, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with HostileServer(answer(200, STARTED)) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert transport.send(access_to(f"http://{HOST}", allow_http=True), paid_call()) == ["run-1"]
        assert [seen.target for seen in proxy.seen] == [f"http://{HOST}/agent/agent-1/run"]
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_tunnel_does_not_see_the_key(
    transport: Transport, identity: ssl.SSLContext, trusting: None, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with HostileServer(answer(200, STARTED), tls=identity) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert transport.send(access_to(f"https://{HOST}"), paid_call()) == ["run-1"]
        [request] = proxy.seen
        assert (request.method, request.target) == ("CONNECT", f"{HOST}:443")
        assert "authorization" not in request.headers
        assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("form", ["http://someone:hush@127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_proxy_with_password_or_without_scheme(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    with HostileServer(answer(200, {})) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", form.format(port=proxy.port))
        transport.send(access_to(f"http://{HOST}", allow_http=True), whoami())
        password = "Basic c29tZW9uZTpodXNo" if "hush" in form else None
        assert proxy.seen[0].headers.get("proxy-authorization") == password
        assert "proxy-authorization" not in server.seen[0].headers


@pytest.mark.parametrize("exceptions", ["127.0.0.1", "127.0.0.0/8", "example.org, 127.0.0.1", "*"])
def test_no_proxy_hosts_bypass_the_proxy(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, exceptions: str
) -> None:
    with HostileServer(answer(200, {})) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", exceptions)
        transport.send(access_to(server.url), whoami())
        assert (server.count, proxy.seen) == (1, [])


def test_https_proxy_is_not_used_for_http(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answer(200, {})) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        transport.send(access_to(server.url), whoami())
        assert (server.count, proxy.seen) == (1, [])


@pytest.mark.parametrize("reply", [reset, hang_up, answer(502, b"<html>")], ids=["reset", "closed", "502"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_lost_start_behind_a_proxy_is_sent_once(
    transport: Transport,
    identity: ssl.SSLContext,
    trusting: None,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    reply: Reply,
) -> None:
    tls = identity if scheme == "https" else None
    with HostileServer(reply, answer(200, STARTED), tls=tls) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        with pytest.raises(MosaicAmbiguousOutcomeError):
            transport.send(access_to(f"{scheme}://{HOST}", allow_http=True), paid_call())
        assert (server.count, transport.pauses) == (1, [])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_unreachable_proxy_has_no_effect(transport: Transport, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv(f"{scheme}_proxy", f"http://someone:hush@127.0.0.1:{port}")
    with pytest.raises(MosaicTransportError, match="could not be reached") as caught:
        transport.send(access_to(f"{scheme}://{HOST}", allow_http=True), paid_call(), retries=RetryPolicy(attempts=2))
    assert (len(transport.pauses), caught.value.effect_unknown) == (1, False)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 407, 502])
def test_rejected_tunnel_is_retried(
    transport: Transport, identity: ssl.SSLContext, trusting: None, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with (
        HostileServer(answer(200, STARTED), tls=identity) as server,
        ForwardProxy(upstream=server.port, rejecting=status) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert transport.send(access_to(f"https://{HOST}"), paid_call()) == ["run-1"]
        assert (len(proxy.seen), server.count, len(transport.pauses)) == (2, 1, 1)


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://127.0.0.1:port", "http://"])
def test_invalid_proxy_fails_without_effect(transport: Transport, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises((MosaicTransportError, MosaicValidationError)) as caught:
        transport.send(access_to(f"http://{HOST}", allow_http=True), paid_call())
    assert not caught.value.effect_unknown


def test_proxy_is_none_without_variables(plain_environment: None) -> None:
    assert proxy_for("https://api.mosaic.so") is None


# Certificate authorities


@pytest.mark.parametrize(
    ("variable", "is_directory"),
    [
        ("REQUESTS_CA_BUNDLE", False),
        ("REQUESTS_CA_BUNDLE", True),
        ("CURL_CA_BUNDLE", False),
        ("SSL_CERT_FILE", False),
        ("SSL_CERT_DIR", True),
    ],
)
def test_ca_variables_work_in_both_transports(
    transport: Transport,
    authority: Authority,
    identity: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    is_directory: bool,
) -> None:
    monkeypatch.setenv(variable, str(authority.folder if is_directory else authority.file))
    with HostileServer(answer(200, STARTED), tls=identity) as server:
        assert transport.send(access_to(f"https://127.0.0.1:{server.port}"), paid_call()) == ["run-1"]


def test_unknown_authority_fails_without_retry(transport: Transport, identity: ssl.SSLContext) -> None:
    with HostileServer(answer(200, STARTED), tls=identity) as server:
        with pytest.raises(MosaicTransportError, match=r"(?i)certificate") as caught:
            transport.send(access_to(f"https://127.0.0.1:{server.port}"), paid_call())
        assert (server.count, transport.pauses) == (0, [])
    assert (caught.value.transient, caught.value.effect_unknown) == (False, False)


def test_certificate_of_another_host_fails(transport: Transport, authority: Authority, trusting: None) -> None:
    with HostileServer(answer(200, STARTED), tls=authority.server_context("another.test")) as server:
        with pytest.raises(MosaicTransportError, match=r"(?i)certificate"):
            transport.send(access_to(f"https://127.0.0.1:{server.port}"), paid_call())
        assert server.count == 0


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("how", ["in place", "by a link"])
def test_replaced_ca_bundle_is_read_again(
    transport: Transport,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    how: str,
) -> None:
    later = Authority(tmp_path)
    bundle = tmp_path / "bundle.pem"
    # Kubernetes mounts a bundle as a link, and replaces the link.
    bundle.symlink_to(authority.file) if how == "by a link" else bundle.write_bytes(authority.file.read_bytes())
    monkeypatch.setenv(variable, str(bundle))
    with HostileServer(answer(200, STARTED), tls=later.server_context("127.0.0.1")) as server:
        access = access_to(f"https://127.0.0.1:{server.port}")
        with pytest.raises(MosaicTransportError, match=r"(?i)certificate"):
            transport.send(access, paid_call())
        if how == "by a link":
            bundle.unlink()
            bundle.symlink_to(later.file)
        else:
            bundle.write_bytes(authority.file.read_bytes() + later.file.read_bytes())
        assert transport.send(access, paid_call()) == ["run-1"]


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_missing_ca_bundle_fails_before_sending(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, variable: str, tmp_path: Path
) -> None:
    missing = str(tmp_path / "gone.pem")
    monkeypatch.setenv(variable, missing)
    with pytest.raises(MosaicValidationError, match=f"{variable}=.*{re.escape(missing)}"):
        transport.send(access_to("https://127.0.0.1:9"), paid_call())


def test_empty_ca_bundle_fails_before_sending(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(MosaicValidationError, match=r"SSL_CERT_FILE=.*empty\.pem"):
        transport.send(access_to("https://127.0.0.1:9"), paid_call())


# Other


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a netrc file with a password for every host."""
    for name in (".netrc", "_netrc"):
        file = tmp_path / name
        file.write_text("machine 127.0.0.1 login someone password hush\ndefault login someone password hush\n")
        file.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


def test_netrc_never_replaces_the_key(transport: Transport, netrc: None) -> None:
    with HostileServer(answer(302, Location="/again"), answer(200, {})) as server:
        transport.send(access_to(server.url), whoami())
        assert [seen.headers["authorization"] for seen in server.seen] == [f"Bearer {KEY}"] * 2


def test_cookies_are_not_sent_back(transport: Transport) -> None:
    with HostileServer(
        answer(307, Location="/a", Set_Cookie="a=b"), answer(200, {}, Set_Cookie="c=d; Path=/")
    ) as server:
        transport.send(access_to(server.url), whoami(), whoami())
        assert [seen.headers.get("cookie") for seen in server.seen] == [None] * 3


def test_user_agent_starts_with_the_provider(transport: Transport) -> None:
    with HostileServer(answer(200, {})) as server:
        transport.send(access_to(server.url), whoami())
        assert server.seen[0].headers["user-agent"].startswith(f"airflow-provider-mosaic/{__version__}")


def test_chunked_response_is_read(transport: Transport) -> None:
    def chunked(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for part in (b'{"run_id"', b': "run-1"}', b""):
            connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        return True

    with HostileServer(chunked) as server:
        assert transport.send(access_to(server.url), paid_call(), paid_call()) == ["run-1", "run-1"]


@pytest.mark.parametrize(
    "bytes_sent", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\xff" * 40, b"HTTP/1.1 two hundred OK\r\n\r\n"]
)
def test_response_that_is_not_http_fails(transport: Transport, bytes_sent: bytes) -> None:
    def babble(connection: socket.socket) -> bool:
        connection.sendall(bytes_sent)
        return False

    with HostileServer(babble) as server:
        with pytest.raises(MosaicAmbiguousOutcomeError):
            transport.send(access_to(server.url), paid_call())
        assert server.count == 1


def test_server_without_tls_fails(transport: Transport) -> None:
    with HostileServer(answer(200, STARTED)) as server:
        access = access_to(f"https://127.0.0.1:{server.port}", timeout=SHORT, connect_timeout=SHORT)
        with pytest.raises(MosaicTransportError):
            transport.send(access, whoami(), retries=ONCE)


def test_server_error_has_the_message_without_the_key(transport: Transport) -> None:
    with (
        HostileServer(answer(500, {"detail": f"who is {KEY}, Bearer {KEY}, whsk_hush?"})) as server,
        pytest.raises(MosaicServerError, match="who is") as caught,
    ):
        transport.send(access_to(server.url), whoami(), retries=ONCE)
    assert "hush" not in str(caught.value)
