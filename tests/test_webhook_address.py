"""The address of the receiver inside Airflow: complete, unguessable, and refused where Mosaic could not use it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError, MosaicValidationError
from airflow_provider_mosaic.webhook_address import path_token, webhook_url

SECRET = "whsk_of_the_organization"


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", "True")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/team/")
    connect(monkeypatch, "mosaic_default", webhook_secret=SECRET)


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, **extra: Any) -> None:
    connection = {"conn_type": "mosaic", "password": "mk_x", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def test_address_has_a_token_of_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    address = webhook_url("mosaic_default")
    head, _, token = address.rpartition("/")
    assert head == "https://airflow.example.org/team/mosaic/webhooks/mosaic_default"
    assert token == path_token(SECRET, "mosaic_default")
    assert len(bytes.fromhex(token)) == 32
    connect(monkeypatch, "other", webhook_secret=SECRET)
    assert webhook_url("other").rpartition("/")[2] != token
    connect(monkeypatch, "mosaic_default", webhook_secret="rotated")
    assert webhook_url("mosaic_default").rpartition("/")[2] != token


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_this_machine_needs_no_tls(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    assert webhook_url("mosaic_default").startswith(f"{base_url}/mosaic/webhooks/mosaic_default/")


@pytest.mark.parametrize(
    "base_url",
    ["", "airflow.example.org", "http://airflow.example.org", "http://localhost.example.org", "ftp://x", "https://["],
)
def test_base_url_that_mosaic_cannot_use_is_rejected(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    with pytest.raises(MosaicValidationError, match=r"\[api\] base_url"):
        webhook_url("mosaic_default")


def test_switched_off_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__MOSAIC__WEBHOOKS")
    with pytest.raises(MosaicValidationError, match="AIRFLOW__MOSAIC__WEBHOOKS"):
        webhook_url("mosaic_default")


def test_secret_may_be_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "mosaic_default", webhook_secret=123456)
    assert webhook_url("mosaic_default").endswith(path_token("123456", "mosaic_default"))


@pytest.mark.parametrize("extra", [{}, *({"webhook_secret": each} for each in ("", "  ", None, True))], ids=str)
def test_connection_without_a_secret_is_rejected(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    connect(monkeypatch, "mosaic_default", **extra)
    with pytest.raises(MosaicConnectionError, match="'mosaic_default' has no webhook secret"):
        webhook_url("mosaic_default")


@pytest.mark.parametrize("conn_id", ["missing", "a/b", "..", "a b", "x" * 201, ""])
def test_connection_that_cannot_receive_is_rejected(conn_id: str) -> None:
    with pytest.raises(MosaicError, match="mosaic_conn_id"):
        webhook_url(conn_id)
