from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.access import DEFAULT_BASE_URL, Access, Redirects
from airflow_provider_mosaic.api.endpoints.account import whoami
from airflow_provider_mosaic.api.endpoints.runs import get_run, start_run
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.responses import Response

KEY = "mk_live_hush"


def test_default_base_url() -> None:
    assert Access(api_key=KEY).url(whoami()) == f"{DEFAULT_BASE_URL}/whoami" == "https://api.mosaic.so/whoami"


@pytest.mark.parametrize(
    "key", ["", "  ", "\n", None, 5, b"mk_x", "mk_a b", "mk_a\nb", "mk_ä", "mk_\x00", "mk_a\u200bb"]
)
def test_invalid_api_key_is_rejected_and_not_shown(key: Any) -> None:
    with pytest.raises(MosaicValidationError, match=r"(?i)api key") as caught:
        Access(api_key=key)
    assert "mk_a" not in str(caught.value)


def test_key_of_mosaic_motion_is_rejected_and_not_shown() -> None:
    with pytest.raises(MosaicValidationError, match=r"Mosaic Motion.*Set a key of the Mosaic API") as caught:
        Access(api_key="motion_live_hush")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("host", ["api.motion.so", "https://api.motion.so", "https://API.motion.so/api/motion?x=hush"])
def test_host_of_mosaic_motion_is_rejected(host: str) -> None:
    with pytest.raises(MosaicValidationError, match=r"Mosaic Motion.*Write https://api\.mosaic\.so") as caught:
        Access(api_key=KEY, base_url=host)
    assert "hush" not in str(caught.value)


def test_whitespace_around_api_key_is_removed() -> None:
    access = Access(api_key=f" {KEY}\n")
    assert access.headers(whoami())["Authorization"] == f"Bearer {KEY}"
    assert access.secrets == (KEY,)


@pytest.mark.parametrize(
    ("host", "clean"),
    [
        ("https://api.mosaic.so/", "https://api.mosaic.so"),
        (" https://api.mosaic.so\n", "https://api.mosaic.so"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTPS://API.mosaic.so", "HTTPS://API.mosaic.so"),
    ],
)
def test_valid_base_url(host: str, clean: str) -> None:
    assert Access(api_key=KEY, base_url=host).base_url == clean


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("api.mosaic.so", "no scheme: write https://api.mosaic.so"),
        ("localhost:8080", "no scheme: write http://localhost:8080"),
        ("", "no scheme: write https://api.mosaic.so"),
        ("https://api.mosaic.so/v1", "it has a path; write https://api.mosaic.so only"),
        ("https://api.mosaic.so?x=hush", "it has a path"),
        ("https://api.mosaic.so#x", "it has a path"),
        ("https://api.mosaic.so#", "it has a path"),
        ("https://api.mosaic.so?", "it has a path"),
        (f"https://{'a' * 64}.example.com", "it is not an address"),
        ("https://a..example.com", "it is not an address"),
        ("ftp://api.mosaic.so", "must start with https://"),
        ("https://", "must start with https://|no scheme"),
        ("https:///", "must start with https://|no scheme"),
        ("https://host:port", "not an address"),
        ("https://host:99999", "not an address"),
        ("https://[::1", "not an address"),
        ("https://api mosaic.so", "spaces"),
        ("https://api.mosaic.so\x00", "spaces"),
        ("https://user:hush@api.mosaic.so", "user or password"),
        ("user:hush@api.mosaic.so", "user or password"),
        (":mk_hush@api.mosaic.so", "user or password"),
        ("mk_hush", "no scheme"),
        (5, "as text"),
        (None, "as text"),
    ],
)
def test_invalid_base_url_is_rejected_without_secrets(host: Any, words: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"host=.*({words})") as caught:
        Access(api_key=KEY, base_url=host)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "connect_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e10, True, "60", None])
def test_invalid_timeout_is_rejected(name: str, value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=f"{name}="):
        Access(api_key=KEY, **{name: value})


@pytest.mark.parametrize("workspace", ["", " ", "a b", "a\r\nX-Evil: 1", 5])
def test_invalid_workspace_id_is_rejected(workspace: Any) -> None:
    with pytest.raises(MosaicValidationError, match="workspace_id="):
        Access(api_key=KEY, workspace_id=workspace)


def test_read_timeout_is_the_longer_of_call_and_connection() -> None:
    access = Access(api_key=KEY, timeout=60)
    assert access.read_timeout(get_run("r")) == 60
    assert access.read_timeout(start_run("a")) == 120
    assert Access(api_key=KEY, timeout=500).read_timeout(start_run("a")) == 500


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a:b", "a%3Ab"),
        ("a&b=c;d@e", "a%26b%3Dc%3Bd%40e"),
        ("ü", "%C3%BC"),
        ("..a", "..a"),
        ("{x}", "%7Bx%7D"),
    ],
)
def test_id_is_one_segment_of_the_path(value: str, quoted: str) -> None:
    assert get_run(value).target == f"/agent_run/{quoted}"


@pytest.mark.parametrize(
    ("method", "status", "location", "target"),
    [
        ("GET", 301, "/b", "https://a.example/b"),
        ("GET", 302, "https://a.example/b?c=d", "https://a.example/b?c=d"),
        ("GET", 303, "https://a.example:443/b", "https://a.example/b"),
        ("GET", 307, "//a.example/b", "https://a.example/b"),
        ("GET", 308, "HTTPS://A.example/b", "https://a.example/b"),
        ("POST", 307, "/b", "https://a.example/b"),
        ("POST", 308, "/b", "https://a.example/b"),
        ("POST", 301, "/b", None),
        ("POST", 302, "/b", None),
        ("POST", 303, "/b", None),
        ("GET", 300, "/b", None),
        ("GET", 304, "/b", None),
        ("GET", 200, "/b", None),
        ("GET", 201, "/b", None),
        ("GET", 302, None, None),
        ("GET", 302, "", None),
        ("GET", 302, "http://a.example/b", None),
        ("GET", 302, "https://a.example:444/b", None),
        ("GET", 302, "https://b.example/", None),
        ("GET", 302, "https://a.example.evil.example/", None),
        ("GET", 302, "https://a.example@evil.example/", None),
        ("GET", 302, "https://evil.example#@a.example/", None),
        ("GET", 302, "javascript:alert(1)", None),
        ("GET", 302, "https://a.example:99999/", None),
        ("GET", 302, "https://[::1", None),
        ("GET", 302, "https://a.example:0/b", None),
        ("GET", 302, "https://evil.example\\@a.example/b", None),
        ("GET", 302, "//evil.example\\@a.example/b", None),
        ("GET", 302, "https://user@a.example/b", None),
        ("GET", 302, "https://a.example/b\x00", None),
        ("GET", 302, "https://a.exa\tmple/b", None),
        ("GET", 302, "https://\uff41.example/b", None),
        ("GET", 302, "/b#c", "https://a.example/b"),
        ("GET", 302, "https://a.example", "https://a.example/"),
        ("GET", 302, "?c=d", "https://a.example/agent_run/r?c=d"),
    ],
)
def test_redirect_is_followed_only_on_the_same_host(
    method: str, status: int, location: str | None, target: str | None
) -> None:
    headers = {} if location is None else {"location": location}
    redirects = Redirects(method, "https://a.example/agent_run/r")
    assert redirects.follow(Response(status, headers)) is (target is not None)
    assert redirects.url == (target or "https://a.example/agent_run/r")
