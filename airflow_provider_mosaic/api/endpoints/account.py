"""The owner of the API key (https://docs.mosaic.so/api/introduction)."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.models import Model, Time, Words, read_object
from airflow_provider_mosaic.api.redaction import label


class Whoami(Model):
    """
    The owner of an API key. Any field may be missing: the response of 2025 described a user, not an organization.

    ``scopes`` is None for a key without restrictions (https://docs.mosaic.so/api/api-key-scopes), and if the response
    has no scopes. ``created_at`` and ``last_used_at`` are those of the key.
    """

    organization_id: Words = None
    organization_name: Words = None
    organization_slug: Words = None
    user_id: Words = None
    email: Words = None
    created_at: Time = None
    last_used_at: Time = None
    scopes: tuple[str, ...] | None = None

    lenient_fields = frozenset({"scopes"})

    @field_validator("scopes", mode="before")
    @classmethod
    def _scopes_in_text(cls, value: Any) -> Any:
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """Name of the owner, for messages."""
        name = self.organization_name or self.email or self.organization_id or self.user_id
        return label(name or "an unnamed organization")


def whoami() -> Call[Whoami]:
    """
    Return the organization that the API key belongs to, and the key's scopes.

    Works with any valid key, also one without scopes. API page: https://docs.mosaic.so/api/introduction

    :raises MosaicAuthenticationError: The key is invalid.
    """
    return Call(description="check the API key", path="/whoami", read=read_object(Whoami))
