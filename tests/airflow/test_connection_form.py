"""The connection form of the UI, as the API server returns it."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest
from mosaic_emulator import Emulator
from mosaic_emulator.local_airflow.instance import AirflowInstance
from mosaic_emulator.local_airflow.rest import RestError

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def form(airflow: AirflowInstance) -> dict[str, Any]:
    """Return the definition of the connection form."""
    (found,) = (kind for kind in airflow.rest.get("/ui/connections/hook_meta") if kind["connection_type"] == "mosaic")
    return dict(found)


def test_labels_of_the_standard_fields(form: dict[str, Any]) -> None:
    assert form["hook_name"] == "Mosaic"
    standard = form["standard_fields"]
    assert standard["password"]["title"] == "API key"
    assert standard["host"]["title"] == "Base URL"
    assert standard["host"]["placeholder"] == "https://api.mosaic.so"
    hidden = {name for name, field in standard.items() if isinstance(field, dict) and field.get("hidden")}
    assert hidden == {"login", "url_schema"}
    assert "443" in standard["port"]["placeholder"]


def test_custom_fields_have_labels(form: dict[str, Any]) -> None:
    fields = {name: field["schema"] for name, field in form["extra_fields"].items()}
    assert {name: schema["title"] for name, schema in fields.items()} == {
        "workspace_id": "Workspace id",
        "webhook_secret": "Webhook secret",
        "timeout": "Request timeout",
        "allow_http": "Allow http://",
        "allow_private_storage": "Allow private storage",
    }
    assert fields["webhook_secret"]["format"] == "password"
    assert "integer" in fields["timeout"]["type"]
    assert "boolean" in fields["allow_http"]["type"]


PATH = "/api/v2/connections"


@pytest.fixture
def press_test(airflow: AirflowInstance) -> Callable[..., dict[str, Any]]:
    """Save a connection and test it with the requests that the UI sends."""

    def press(**fields: Any) -> dict[str, Any]:
        airflow.rest.post(PATH, {"connection_id": "tried", "conn_type": "mosaic", **fields})
        try:
            shown = airflow.rest.get(f"{PATH}/tried")
            # The browser does not know the key, and JavaScript sends an empty port as a number.
            assert shown["password"] == "***"
            texts = {name: shown[name] or "" for name in ("description", "host", "login", "password", "schema")}
            numbers = {"port": shown["port"] or 0}
            body = {
                "connection_id": "tried",
                "conn_type": "mosaic",
                "extra": shown["extra"] or "{}",
                **texts,
                **numbers,
            }
            return dict(airflow.rest.post(f"{PATH}/test", body))
        finally:
            airflow.rest.request("DELETE", f"{PATH}/tried")

    return press


def test_test_button_checks_the_key(press_test: Callable[..., dict[str, Any]], mosaic: Emulator) -> None:
    address, _, port = mosaic.url.rpartition(":")
    for fields in ({"host": mosaic.url, "port": 443}, {"host": address, "port": int(port)}):
        good = press_test(password=mosaic.api_key, **fields)
        assert good["status"] is True, good["message"]
        assert mosaic.url in good["message"]
        wrong = press_test(password="mk_wrong", **fields)
        assert wrong["status"] is False, wrong["message"]
        assert "mk_wrong" not in wrong["message"]
        assert "401" in wrong["message"]


def test_test_button_without_a_port_fails_on_some_versions(
    press_test: Callable[..., dict[str, Any]], mosaic: Emulator
) -> None:
    """https://github.com/apache/airflow/pull/73298: if this fails, remove the note in the docs and the form."""
    if version("apache-airflow-core") in ("3.3.1", "3.3.2"):
        with pytest.raises(RestError, match="host or port to test differs") as caught:
            press_test(password=mosaic.api_key, host=mosaic.url)
        assert caught.value.status == 400
    else:
        assert press_test(password=mosaic.api_key, host=mosaic.url)["status"] is True
