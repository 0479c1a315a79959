"""The connection type as the running API server hands it to the form in the UI."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.emulator import Emulator
from dev.airflow_instance import AirflowInstance

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def form(airflow: AirflowInstance) -> dict[str, Any]:
    """What the UI asks for when a person adds a connection."""
    (found,) = (kind for kind in airflow.rest.get("/ui/connections/hook_meta") if kind["connection_type"] == "mosaic")
    return dict(found)


def test_the_form_calls_the_standard_fields_by_what_they_hold(form: dict[str, Any]) -> None:
    assert form["hook_name"] == "Mosaic"
    standard = form["standard_fields"]
    assert standard["password"]["title"] == "API key"
    assert standard["host"]["title"] == "Base URL"
    assert standard["host"]["placeholder"] == "https://api.mosaic.so"
    hidden = {name for name, field in standard.items() if isinstance(field, dict) and field.get("hidden")}
    assert hidden == {"login", "port", "url_schema"}


def test_the_form_has_our_own_fields_with_labels(form: dict[str, Any]) -> None:
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


def test_the_test_button_tells_a_good_key_from_a_wrong_one(airflow: AirflowInstance, mosaic: Emulator) -> None:
    def press(key: str) -> dict[str, Any]:
        connection = {"connection_id": "tried", "conn_type": "mosaic", "host": mosaic.url, "password": key}
        return dict(airflow.rest.post("/api/v2/connections/test", connection))

    good, wrong = press(mosaic.api_key), press("mk_wrong")
    assert good["status"] is True, good["message"]
    assert wrong["status"] is False, wrong["message"]
    assert "mk_wrong" not in wrong["message"]
    assert "401" in wrong["message"]
