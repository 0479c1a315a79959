"""Connected accounts (https://docs.mosaic.so/api/social/get-social-connections)."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mosaic.api.arguments import validate_filled_text, validate_id, validate_url
from airflow_provider_mosaic.api.call import MAX_BYTES_OF_MANY, Call, RetrySafety
from airflow_provider_mosaic.api.models import Id, Model, Words, read_object
from airflow_provider_mosaic.api.paging import read_list


class SocialConnection(Model):
    """A connected account. Lists do not report ``connected``."""

    # A row with an odd value must not hide the others.
    lenient_fields = frozenset({"connected"})

    social_connection_id: Id
    platform: Words = None
    connected: bool | None = None
    account_name: Words = None
    account_username: Words = None
    profile_url: Words = None


def list_social_connections() -> Call[tuple[SocialConnection, ...]]:
    """
    Return the connected accounts. No pagination is documented: a response with a cursor for more is an error.

    API page: https://docs.mosaic.so/api/social/get-social-connections
    """
    return Call(
        description="list the social connections",
        path="/social/connections",
        read=read_list("connected_accounts", SocialConnection),
        max_bytes=MAX_BYTES_OF_MANY,
    )


def get_social_connection(social_connection_id: str) -> Call[SocialConnection]:
    """
    Return one connected account, with whether it is still connected.

    API page: https://docs.mosaic.so/api/social/get-social-connection
    """
    return Call(
        description=f"read social connection {social_connection_id!r}",
        path="/social/connections/{social_connection_id}",
        ids={"social_connection_id": social_connection_id},
        read=read_object(SocialConnection, social_connection_id=social_connection_id),
    )


class ConnectLink(Model):
    """A link on which a user connects an account."""

    platform: Words = None
    connect_url: str = Field(repr=False)


def create_connect_link(
    platform: str, *, connection_name: str | None = None, redirect_url: str | None = None
) -> Call[ConnectLink]:
    """
    Create a link on which a user connects an account. The link itself connects nothing.

    API page: https://docs.mosaic.so/api/social/post-social-connections

    :param connection_name: Name of the account during the setup.
    :param redirect_url: URL to redirect the user to afterwards.
    """
    body = {"platform": validate_id("platform", platform)}
    if connection_name is not None:
        body["connection_name"] = validate_filled_text("connection_name", connection_name)
    if redirect_url is not None:
        body["redirect_url"] = validate_url("redirect_url", redirect_url)
    return Call(
        description=f"make a link to connect {platform!r}",
        method="POST",
        path="/social/connections",
        makes="social_connection_id",
        body=body,
        read=read_object(ConnectLink),
        retry_safety=RetrySafety.HAS_EFFECTS,
    )


def delete_social_connection(social_connection_id: str) -> Call[None]:
    """
    Disconnect an account. What happens to posts scheduled for it is not documented.

    API page: https://docs.mosaic.so/api/social/delete-social-connection
    """
    return Call(
        description=f"delete social connection {social_connection_id!r}",
        method="DELETE",
        path="/social/connections/{social_connection_id}",
        ids={"social_connection_id": social_connection_id},
        deletes=True,
        read=lambda data: None,
    )
