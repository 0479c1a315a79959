"""
The fields of a ``mosaic`` connection, defined once; both styles of form are made from them.

Airflow 3.2 and newer take the form from the provider's metadata alone and never import the hook for it; Airflow 3.1
asks two methods of the hook. This module imports nothing, since Airflow reads the metadata in every process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "mosaic"
HOOK_CLASS = "airflow_provider_mosaic.hooks.mosaic.MosaicHook"
HOOK_NAME = "Mosaic"

# The port is shown for the Test button of Airflow 3.3.1 and 3.3.2, which sends 0 for none, and takes 0 for another port
# than the stored one: "Bad Request" (https://github.com/apache/airflow/pull/73298).
HIDDEN_FIELDS = ("login", "schema")
RELABELING = {"host": "Base URL", "password": "API key"}
PLACEHOLDERS = {
    "host": "https://api.mosaic.so",
    "password": "mk_...",
    "port": "443, for the Test button of Airflow 3.3",
}


@dataclass(frozen=True, kw_only=True)
class ExtraField:
    """
    A field that is kept in the connection's extra.

    :param name: Its key there.
    :param label: What the form calls it.
    :param description: What the form says about it.
    :param type: JSON type, ``string``, ``integer`` or ``boolean``.
    :param secret: Whether it is masked in the form and in logs.
    """

    name: str
    label: str
    description: str
    type: str = "string"
    secret: bool = False

    def schema(self) -> dict[str, Any]:
        """The field as the metadata's JSON schema writes it."""
        schema: dict[str, Any] = {"type": [self.type, "null"]}
        if self.secret:
            schema["format"] = "password"
        if self.type == "integer":
            schema["minimum"] = 1
        return schema


EXTRA_FIELDS = (
    ExtraField(
        name="workspace_id",
        label="Workspace id",
        description="Narrows every request to one workspace of the organization. Leave empty for all.",
    ),
    ExtraField(
        name="webhook_secret",
        label="Webhook secret",
        description="What Mosaic sends as X-Mosaic-Signature with its webhooks. Only needed to receive them.",
        secret=True,
    ),
    ExtraField(
        name="timeout",
        label="Request timeout",
        description="Seconds to wait for an answer. Default: 60; starting a run and finalizing an upload wait longer.",
        type="integer",
    ),
    ExtraField(
        name="allow_http",
        label="Allow http://",
        description="Send the API key unencrypted to a base URL with http:// that is not on this machine. Default: no.",
        type="boolean",
    ),
    ExtraField(
        name="allow_private_storage",
        label="Allow private storage",
        description="Whether links that Mosaic hands out may lead into a private network, and speak plain http there. "
        "Only for those who run their own storage.",
        type="boolean",
    ),
)


def connection_type_info() -> dict[str, Any]:
    """The connection type as provider metadata, which Airflow 3.2 and newer make the form of."""
    return {
        "connection-type": CONNECTION_TYPE,
        "hook-class-name": HOOK_CLASS,
        "hook-name": HOOK_NAME,
        "ui-field-behaviour": {
            "hidden-fields": list(HIDDEN_FIELDS),
            "relabeling": dict(RELABELING),
            "placeholders": dict(PLACEHOLDERS),
        },
        "conn-fields": {
            field.name: {"label": field.label, "description": field.description, "schema": field.schema()}
            for field in EXTRA_FIELDS
        },
    }


def field_behaviour() -> dict[str, Any]:
    """The standard fields as Airflow 3.1 asks the hook for them."""
    return {
        "hidden_fields": list(HIDDEN_FIELDS),
        "relabeling": dict(RELABELING),
        "placeholders": dict(PLACEHOLDERS),
    }


def form_widgets() -> dict[str, Any]:
    """The extra fields as Airflow 3.1 asks the hook for them; it brings wtforms, or a stand-in for it."""
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional

    kinds = {"string": StringField, "integer": IntegerField, "boolean": BooleanField}

    def widget(field: ExtraField) -> Any:
        kind = PasswordField if field.secret else kinds[field.type]
        return kind(field.label, validators=[Optional()], description=field.description)

    return {field.name: widget(field) for field in EXTRA_FIELDS}
