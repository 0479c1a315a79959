"""The connection form of every Airflow has the fields that the hook reads."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from airflow_provider_mosaic.connection_form import EXTRA_FIELDS, connection_type_info
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .connections import KEY, as_json, look_up_access


class Field:
    """Fake of a wtforms field. Not every Airflow installs wtforms."""

    def __init__(self, label: str, validators: list[object], description: str) -> None:
        self.label, self.description = label, description


def test_both_forms_have_the_same_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {
        name: type(name, (Field,), {}) for name in ("StringField", "IntegerField", "PasswordField", "BooleanField")
    }
    monkeypatch.setitem(sys.modules, "wtforms", SimpleNamespace(**classes))
    monkeypatch.setitem(sys.modules, "wtforms.validators", SimpleNamespace(Optional=object))
    widgets = MosaicHook.get_connection_form_widgets()
    metadata = connection_type_info()
    assert {name: (w.label, w.description) for name, w in widgets.items()} == {
        name: (field["label"], field["description"]) for name, field in metadata["conn-fields"].items()
    }
    assert {name: type(widget).__name__ for name, widget in widgets.items()} == {
        "workspace_id": "StringField",
        "webhook_secret": "PasswordField",
        "timeout": "IntegerField",
        "allow_http": "BooleanField",
        "allow_private_storage": "BooleanField",
    }
    behaviour = {name.replace("_", "-"): value for name, value in MosaicHook.get_ui_field_behaviour().items()}
    assert behaviour == metadata["ui-field-behaviour"]


def test_the_hook_reads_every_field_of_the_form(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"allow_http": True, "allow_private_storage": True}
    extra = {"workspace_id": "w", "timeout": 5, "webhook_secret": "whsk_hush", **flags}
    assert set(extra) == {field.name for field in EXTRA_FIELDS}
    access = look_up_access(as_json(password=KEY, extra=extra), monkeypatch)
    assert (access.workspace_id, access.timeout) == ("w", 5.0)
    assert (access.allow_http, access.allow_private_storage) == (True, True)
