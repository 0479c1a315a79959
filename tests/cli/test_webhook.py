"""``webhook url`` prints the address that the operators use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from airflow_provider_mosaic.webhook_address import path_token, webhook_url

from .conftest import Result

Run = Callable[..., Result]
SECRET = "whsk_0123456789abcdef"


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_type": "mosaic", "password": "mk_key", "extra": json.dumps({"webhook_secret": SECRET})}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_TEAM", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")


def test_the_address_is_printed_as_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", "True")
    done = run("webhook", "url", "mosaic_team")
    assert (done.status, done.err) == (0, "")
    assert done.out == webhook_url("mosaic_team") + "\n"
    assert SECRET not in done.out


def test_the_address_of_a_connection_in_the_database(
    run: Run, monkeypatch: pytest.MonkeyPatch, saved_connection: str
) -> None:
    def get_connection(conn_id: str) -> None:
        """Search as the SDK of Airflow 3.1.0 does outside of a task."""
        raise ImportError("SUPERVISOR_COMMS")

    monkeypatch.setenv("AIRFLOW__MOSAIC__WEBHOOKS", "True")
    monkeypatch.setattr("airflow.sdk.BaseHook.get_connection", get_connection)
    assert run("webhook", "url", saved_connection).out.endswith(f"/{path_token(SECRET, saved_connection)}\n")


def test_without_a_receiver_it_is_an_error(run: Run) -> None:
    done = run("webhook", "url", "mosaic_team")
    assert (done.status, done.out) == (1, "")
    assert "AIRFLOW__MOSAIC__WEBHOOKS" in done.err
    assert len(done.err.splitlines()) <= 3
