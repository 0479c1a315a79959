"""Who the key belongs to (https://docs.mosaic.so/api/introduction)."""

from __future__ import annotations

from typing import Any

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.models import Model, Time, Words
from airflow_provider_mosaic.api.redaction import label


class Whoami(Model):
    """
    The owner of an API key. Older versions of the API answered with a user, so nothing here is certain to come.

    ``scopes`` is None for a key without restrictions, and where the answer has none. They are documented on the page of
    restricted keys (https://docs.mosaic.so/api/api-key-scopes), and not in the sample of the introduction.
    """

    organization_id: Words = None
    organization_name: Words = None
    organization_slug: Words = None
    user_id: Words = None
    email: Words = None
    created_at: Time = None
    last_used_at: Time = None
    scopes: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """What to call the owner."""
        name = self.organization_name or self.email or self.organization_id or self.user_id
        return label(name or "an unnamed organization")


def whoami() -> Call[Whoami]:
    """Which organization the key belongs to. It works for any valid key and changes nothing."""
    return Call(description="check the API key", method="GET", path="/whoami", read=_read)


def _read(data: Any) -> Whoami:
    return Whoami.model_validate(data)
