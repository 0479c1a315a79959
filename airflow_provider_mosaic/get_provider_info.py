"""The metadata of this provider. Every Airflow process reads it, so this module imports nothing heavy."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic import __version__
from airflow_provider_mosaic.connection_form import connection_type_info

_INTEGRATION = "Mosaic"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, as in Airflow's ``provider_info.schema.json``."""

    def modules(*names: str) -> list[dict[str, Any]]:
        return [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"airflow_provider_mosaic.{name}" for name in names],
            }
        ]

    return {
        "package-name": "airflow-provider-mosaic",
        "name": _INTEGRATION,
        "description": (
            "Run Mosaic's video-editing agents, wait for them without a worker, download and publish results."
        ),
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://docs.mosaic.so/api/introduction",
                "tags": ["service"],
            }
        ],
        "connection-types": [connection_type_info()],
        "config": {
            "mosaic": {
                "description": "Options of the Mosaic provider.",
                "options": {
                    "webhooks": {
                        "description": "Whether the API server receives the webhooks of Mosaic, for connections that "
                        "have a webhook secret.",
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": None,
                        "default": "False",
                    }
                },
            }
        },
        "hooks": modules("hooks.mosaic"),
        "operators": modules(
            "operators.runs",
            "operators.assets",
            "operators.social",
            "operators.agents",
            "operators.avatars",
            "operators.triggers",
        ),
        "sensors": modules("sensors.runs", "sensors.social", "sensors.credits", "sensors.avatars"),
        "triggers": modules(
            "triggers.runs", "triggers.social", "triggers.credits", "triggers.avatars", "triggers.finished_runs"
        ),
        "extra-links": [
            "airflow_provider_mosaic.links.MosaicAgentLink",
            "airflow_provider_mosaic.links.MosaicPageLink",
            "airflow_provider_mosaic.links.MosaicPostLink",
        ],
        "asset-uris": [
            {
                "schemes": ["mosaic"],
                "handler": None,
                "to_openlineage_converter": "airflow_provider_mosaic.assets.convert_asset_to_openlineage",
            }
        ],
        # Airflow reads it since version 3.2.
        "cli": ["airflow_provider_mosaic.cli.definition.get_commands"],
    }
