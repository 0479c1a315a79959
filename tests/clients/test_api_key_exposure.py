"""The API key is sent only to the connection's host, for any redirect, host or proxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.access import MAX_REDIRECTS, Access
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.runs import cancel_run, get_run
from airflow_provider_mosaic.api.errors import MosaicError, MosaicResponseError, MosaicValidationError
from airflow_provider_mosaic.api.retries import ONCE
from airflow_provider_mosaic.clients.signed_urls import open_url
from airflow_provider_mosaic.clients.sync_client import open_session

from .authorities import Authority
from .servers import ForwardProxy, HostileServer, Reply, answer
from .transports import KEY, Transport, access_to, paid_call

pytestmark = pytest.mark.hostile

#: Redirects that one library reads as this host and another library as another host.
SPELLINGS = [
    "http://{evil}\\@{here}/x",
    "//{evil}\\@{here}/x",
    "\\\\{evil}/x",
    "/\\{evil}/x",
    "http:\\\\{evil}/x",
    "http:/\\{evil}\\@{here}/x",
    "http://{here}\\@{evil}/x",
    "http://{here}@{evil}/x",
    "http://{here}:word@{evil}/x",
    "http://user:word@{here}/x",
    "http://{evil}#@{here}/x",
    "http://{evil}?@{here}/x",
    "http://{evil};@{here}/x",
    "http://{evil};{here}/x",
    "http://{evil}%40{here}/x",
    "http://{evil}%5C@{here}/x",
    "http://{evil}%2F@{here}/x",
    "http://{evil}\t@{here}/x",
    "http://{evil} @{here}/x",
    "http://{evil}\x00@{here}/x",
    "///{evil}/x",
    "////{evil}/x",
    "http:///{evil}/x",
    "http:{evil}/x",
    "http://{evil}/x",
]


@pytest.fixture
def evil() -> Iterator[HostileServer]:
    """A host that the key must not reach."""
    with HostileServer(answer(200, {"run_id": "run-1"})) as server:
        yield server


def redirect(status: int, place: str, evil: HostileServer) -> Reply:
    """Reply with a redirect that contains the server's own port."""

    def reply(connection: socket.socket) -> bool:
        here = f"127.0.0.1:{connection.getsockname()[1]}"
        return answer(status, Location=place.format(here=here, evil=f"127.0.0.1:{evil.port}"))(connection)

    return reply


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("call", [whoami(), paid_call()], ids=["GET", "POST"])
def test_redirects_never_send_key_or_body_to_another_host(
    transport: Transport, evil: HostileServer, status: int, call: Call[object]
) -> None:
    for place in SPELLINGS:
        with HostileServer(redirect(status, place, evil), answer(404)) as server:
            with pytest.raises(MosaicError):
                transport.send(access_to(server.url), call, retries=ONCE)
            assert evil.seen == [], place
            # A redirect that was followed led to a path of the same host.
            assert {seen.headers["host"] for seen in server.seen} == {f"127.0.0.1:{server.port}"}, place


def test_redirects_change_only_path_and_query(transport: Transport) -> None:
    places = {
        "http://{here}": ("/",),
        "http://{here}/a%2Fb?c=d#e": ("/a%2Fb?c=d",),
        # Older versions of requests merge two slashes.
        "//{here}//a;b@c": ("/a;b@c", "//a;b@c"),
        "?q": ("/whoami?q",),
    }
    with HostileServer(answer(404)) as nowhere:
        for place, targets in places.items():
            with HostileServer(redirect(302, place, nowhere), answer(200, {})) as server:
                transport.send(access_to(server.url), whoami())
                assert server.seen[1].target in targets


@pytest.mark.parametrize(
    "host",
    [
        "https://evil.com\\.api.mosaic.so",
        "https://evil.com\\@api.mosaic.so",
        "https://evil.com%40api.mosaic.so",
        "https://evil.com%5C.api.mosaic.so",
        "https://evil.com%2F.api.mosaic.so",
        "https://evil.com;api.mosaic.so",
        "https://evil.com,api.mosaic.so",
        "https://evil.com|api.mosaic.so",
        "https://evil.com\uff0fapi.mosaic.so",
        "https://evil.com\u3002api.mosaic.so",
        "https://evil.com\tapi.mosaic.so",
        "https://evil.com\x00api.mosaic.so",
        "https://evil.com\ud800api.mosaic.so",
        "https://user:hush%40api.mosaic.so",
        "https://user:hush%2540api.mosaic.so",
        "https://user:hush@api.mosaic.so",
        "https://[::1]evil.com",
        "https://[v1.evil]",
        "https://api.mosaic.so:0",
        "https://api.mosaic.so:65536",
        "http://[",
        "https://" + "a." * 50_000 + "so",
    ],
)
def test_ambiguous_hosts_are_rejected(host: str) -> None:
    with pytest.raises(MosaicValidationError, match=r"^host=") as caught:
        Access(api_key=KEY, base_url=host)
    assert "hush" not in str(caught.value)
    assert len(str(caught.value)) < 500


# Errors of redirects that are not followed


@pytest.mark.parametrize("status", [300, 302, 304, 307])
def test_redirect_without_location_error(transport: Transport, status: int) -> None:
    with (
        HostileServer(answer(status)) as server,
        pytest.raises(MosaicResponseError, match=rf"{status}.*redirects without an address"),
    ):
        transport.send(access_to(server.url), whoami())


@pytest.mark.parametrize("status", [301, 302])
def test_trailing_slash_redirect_error(transport: Transport, status: int) -> None:
    with HostileServer(answer(status, Location="/agent/agent-1/run/"), answer(200, {"run_id": "run-1"})) as server:
        with pytest.raises(MosaicResponseError, match=rf"{status}.*slash at its end.*without the slash") as caught:
            transport.send(access_to(server.url), paid_call())
        assert (server.count, caught.value.effect_unknown) == (1, False)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_same_host_redirect_error(transport: Transport, status: int) -> None:
    with (
        HostileServer(answer(status, Location="/login?token=hush")) as server,
        pytest.raises(MosaicResponseError, match=r"another path on the same host.*was not followed") as caught,
    ):
        transport.send(access_to(server.url), cancel_run("run-1"))
    assert "another address" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("call", [whoami(), cancel_run("run-1")], ids=["GET", "POST"])
def test_http_to_https_redirect_error_names_the_fix(transport: Transport, status: int, call: Call[object]) -> None:
    for port, shown in (("", ""), (":443", ""), (":8443", ":8443")):
        place = f"https://127.0.0.1{port}/whoami?token=hush"
        words = rf"Write https://127\.0\.0\.1{shown} as the connection's host"
        with HostileServer(answer(status, Location=place)) as server:
            with pytest.raises(MosaicResponseError, match=words) as caught:
                transport.send(access_to(server.url), call)
            assert server.count == 1
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("call", [whoami(), cancel_run("run-1")], ids=["GET", "POST"])
def test_https_to_http_redirect_error(
    transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call[object]
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with HostileServer(
        answer(307, Location="http://127.0.0.1/whoami/?token=hush"), tls=authority.server_context("127.0.0.1")
    ) as server:
        with pytest.raises(MosaicResponseError, match=r"redirects to http, .*unencrypted.*redirect to https") as caught:
            transport.send(access_to(f"https://127.0.0.1:{server.port}"), call)
        assert server.count == 1
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("call", [whoami(), cancel_run("run-1")], ids=["GET", "POST"])
def test_endless_redirects_error(transport: Transport, call: Call[object]) -> None:
    with HostileServer(answer(307, Location="/whoami")) as server:
        with pytest.raises(MosaicResponseError, match=f"redirected {MAX_REDIRECTS} times on the same host"):
            transport.send(access_to(server.url), call)
        assert server.count == MAX_REDIRECTS


# HTTP without TLS


@pytest.mark.parametrize(
    "host",
    [
        "http://api.mosaic.so",
        "HTTP://api.mosaic.so",
        "http://10.0.0.1:8080",
        "http://0.0.0.0:8080",
        "http://[::]:8080",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://2130706433",
        "http://127.1",
    ],
)
def test_http_to_another_machine_needs_allow_http(host: str) -> None:
    with pytest.raises(MosaicValidationError, match=r"^host=.*unencrypted.*Write https://.*allow_http"):
        Access(api_key=KEY, base_url=host)
    assert Access(api_key=KEY, base_url=host, allow_http=True).base_url == host


@pytest.mark.parametrize("allowed", ["true", 1, None])
def test_allow_http_must_be_a_bool(allowed: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"^allow_http="):
        Access(api_key=KEY, base_url="http://api.mosaic.so", allow_http=allowed)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_http_to_localhost_is_allowed(transport: Transport, host: str) -> None:
    with HostileServer(answer(200, {})) as server:
        transport.send(access_to(f"http://{host}:{server.port}"), whoami())
        assert server.count == 1


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.2"])
def test_other_loopback_addresses_are_allowed(host: str) -> None:
    assert Access(api_key=KEY, base_url=f"http://{host}:8080").base_url == f"http://{host}:8080"


def test_http_to_localhost_never_uses_a_remote_proxy(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answer(200, {})) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://user:hush@proxy.test:3128")
        with pytest.raises(MosaicValidationError, match=r"^proxy='proxy\.test'.*unencrypted.*NO_PROXY") as caught:
            transport.send(access_to(server.url), whoami())
        assert "hush" not in str(caught.value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        transport.send(access_to(server.url), whoami())
        assert server.count == 1


def test_http_to_localhost_may_use_a_local_proxy(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostileServer(answer(200, {})) as server, ForwardProxy(upstream=server.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        transport.send(access_to(server.url), whoami())
        assert (len(proxy.seen), server.count) == (1, 1)


# Invalid requests


@pytest.mark.parametrize(
    "proxy",
    [
        "http://127.0.0.1:99999",
        "127.0.0.1:65536",
        "http://127.0.0.1:-1",
        "http://127.0.0.1:0",
        "http://[",
        "http://[::1",
        "http://:3128",
        "http://a b:1",
        "http://\udc80:1",
        "http://user:hush\udc80@127.0.0.1:1",
        "http://user:hush%E2%82%AC\u20ac@127.0.0.1:1",
        "http://user:hu/sh@127.0.0.1:1",
        "http://user:1/hush@127.0.0.1:1",
        "http://user:1?hush@127.0.0.1:1",
        "http://user:1#hush@127.0.0.1:1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_malformed_proxy_is_rejected_without_showing_it(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, proxy: str, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
    with pytest.raises(MosaicValidationError, match=rf"^proxy=.*a proxy for {scheme}://.*can't be parsed") as caught:
        transport.send(access_to(f"{scheme}://127.0.0.1:9"), paid_call())
    assert "sh@" not in str(caught.value)
    assert "hush" not in str(caught.value)
    # Transfers use the same proxy.
    with pytest.raises(MosaicValidationError, match=r"^proxy="), open_session() as session:
        open_url(session, f"{scheme}://127.0.0.1:9/a.mp4", action="read a", timeout=1.0)


def test_proxy_that_needs_another_package_has_no_effect(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nosuch://127.0.0.1:1")
    with pytest.raises(MosaicError) as caught:
        transport.send(access_to("https://127.0.0.1:9"), paid_call())
    assert (caught.value.effect_unknown, transport.pauses) == (False, [])


@pytest.mark.parametrize("workspace", ["\u00fc", "w\u20ac", "\ud800", "w" * 100_000, "a/b", "a\x00b"])
def test_invalid_workspace_ids_are_rejected(workspace: str) -> None:
    with pytest.raises(MosaicValidationError, match=r"^workspace_id=") as caught:
        Access(api_key=KEY, workspace_id=workspace)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "value",
    [
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "a%2Fb",
        "../whoami",
        "..",
        ".",
        " ",
        "\u3000",
        "a\x00b",
        "\ud800",
        "\udcffx",
        # Full-width and small forms of the characters above.
        "a\uff0fb",
        "a\uff3cb",
        "a\uff1fb",
        "a\uff03b",
        "a\uff052Fb",
        "a\u2100b",
        "\uff0e\uff0e",
        "\u2025",
        "x" * 100_000,
    ],
)
def test_invalid_ids_are_rejected_before_sending(transport: Transport, value: str) -> None:
    with HostileServer(answer(200, {"status": "running"})) as server:
        with pytest.raises(MosaicValidationError, match=r"^run_id=") as caught:
            transport.send(access_to(server.url), get_run(value))
        assert server.count == 0
    assert len(str(caught.value)) < 500
