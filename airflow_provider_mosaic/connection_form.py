"""
The form of a ``mosaic`` connection.

Airflow 3.2 and newer read the form from the provider's metadata, without the hook; Airflow 3.1 calls two methods of the
hook. This module imports nothing heavy, since every Airflow process reads the metadata.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

CONNECTION_TYPE = "mosaic"
HOOK_CLASS = "airflow_provider_mosaic.hooks.mosaic.MosaicHook"
HOOK_NAME = "Mosaic"

# The port is visible for the Test button of Airflow 3.3.1 and 3.3.2: it sends 0 for a hidden port, and Airflow rejects
# a port that differs from the stored one with "Bad Request" (https://github.com/apache/airflow/pull/73298).
_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"host": "Base URL", "password": "API key"},
    "placeholders": {
        "host": "https://api.mosaic.so",
        "password": "mk_...",
        "port": "443, for the Test button of Airflow 3.3",
    },
}


@dataclass(frozen=True, kw_only=True)
class ExtraField:
    """
    A field in the connection's extra.

    :param name: The key in the extra.
    :param type: The JSON type: ``string``, ``integer`` or ``boolean``.
    :param secret: Whether it is masked in the form and in logs.
    """

    name: str
    label: str
    description: str
    type: str = "string"
    secret: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the field's JSON schema for the metadata."""
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
        description="The X-Mosaic-Signature that Mosaic sends with its webhooks. Only needed to receive webhooks.",
        secret=True,
    ),
    ExtraField(
        name="timeout",
        label="Request timeout",
        description="Seconds to wait for a response. Default: 60; starting a run, creating a post and finalizing an "
        "upload wait longer.",
        type="integer",
    ),
    ExtraField(
        name="allow_http",
        label="Allow http://",
        description="Send the API key unencrypted to a base URL with http:// outside this machine. Default: no.",
        type="boolean",
    ),
    ExtraField(
        name="allow_private_storage",
        label="Allow private storage",
        description="Accept links of Mosaic into a private network, also with http://. Only for your own storage. "
        "Default: no.",
        type="boolean",
    ),
)


def connection_type_info() -> dict[str, Any]:
    """Return the connection type as provider metadata, for Airflow 3.2 and newer."""
    return {
        "connection-type": CONNECTION_TYPE,
        "hook-class-name": HOOK_CLASS,
        "hook-name": HOOK_NAME,
        "ui-field-behaviour": deepcopy(_FIELD_BEHAVIOUR),
        "conn-fields": {
            field.name: {"label": field.label, "description": field.description, "schema": field.schema()}
            for field in EXTRA_FIELDS
        },
    }


def field_behaviour() -> dict[str, Any]:
    """Return the standard fields, for ``get_ui_field_behaviour`` of the hook (Airflow 3.1)."""
    return {key.replace("-", "_"): value for key, value in deepcopy(_FIELD_BEHAVIOUR).items()}


def form_widgets() -> dict[str, Any]:
    """Return the extra fields, for ``get_connection_form_widgets`` of the hook (Airflow 3.1)."""
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional

    kinds = {"string": StringField, "integer": IntegerField, "boolean": BooleanField}

    def widget(field: ExtraField) -> Any:
        kind = PasswordField if field.secret else kinds[field.type]
        return kind(field.label, validators=[Optional()], description=field.description)

    return {field.name: widget(field) for field in EXTRA_FIELDS}
