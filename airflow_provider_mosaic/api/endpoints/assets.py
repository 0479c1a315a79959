"""
Assets: videos, audio and images that are uploaded to be used in runs and avatars.

An upload is three steps: :func:`start_upload` reserves an id and gives a signed form, the bytes go to the storage host
in that form, and :func:`finalize_upload` registers them (https://docs.mosaic.so/api/asset-management/upload-flow).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.call import Call, InvalidResponse
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.models import Id, Model, Words, id_in, object_in, text_in
from airflow_provider_mosaic.api.options import AssetKind, validate_asset_kind
from airflow_provider_mosaic.api.redaction import link_secrets, values

#: Seconds to wait for a finalize: size, length and format can only be looked at now.
_FINALIZE_PATIENCE = 180.0


class UploadForm(Model):
    """
    A signed form for one upload. It is a credential: none of it is shown.

    :param asset_id: The id that the asset will have.
    :param upload_url: The storage host's address; the API key must not be sent there.
    :param upload_fields: Form fields to send verbatim, in this order, before the file.
    :param max_file_size_bytes: The largest file that is taken; None when the API does not say.
    """

    asset_id: Id
    upload_url: str = Field(repr=False)
    upload_fields: dict[str, str] = Field(repr=False)
    max_file_size_bytes: int | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may contain that the storage host sends, as it may repeat it."""
        return values((*self.upload_fields.values(), *link_secrets(self.upload_url)))

    @property
    def signature(self) -> tuple[str, ...]:
        """Those of :attr:`secrets` that name no asset."""
        fields = [value for name, value in self.upload_fields.items() if name != "key" and value != self.asset_id]
        return values((*fields, *link_secrets(self.upload_url, path=False)))


class ViewLink(Model):
    """Short-lived signed links to look at an asset."""

    asset_type: Words = None
    asset_id: Words = None
    signed_url: str = Field(repr=False)
    thumbnail_url: Words = Field(default=None, repr=False)


def validate_asset_type(value: AssetKind | AssetType) -> AssetType:
    """
    An asset type from its name.

    :raises MosaicValidationError: There is no such type.
    """
    return AssetType(validate_asset_kind("asset_type", value))


def start_upload(asset_type: AssetKind | AssetType) -> Call[UploadForm]:
    """
    Reserve an asset's id and get a signed form for its bytes. Each attempt takes a form of its own; the provider
    assumes that one that is not used lapses
    (https://docs.mosaic.so/api/asset-management/post-uploads-video-get-upload-url).

    :param asset_type: What will be uploaded.
    """
    kind = validate_asset_type(asset_type)
    key = f"{kind.value}_id"

    def read(data: Any) -> UploadForm:
        answer = object_in(data)
        fields = answer.get("upload_fields")
        if not isinstance(fields, dict):
            raise InvalidResponse("the field 'upload_fields' is missing")
        limit = answer.get("max_file_size_bytes")
        return UploadForm(
            asset_id=id_in(data, key, "id"),
            upload_url=text_in(data, "upload_url"),
            # A null is no field: the storage host would refuse a form with the text "None" in it.
            upload_fields={
                name: value if isinstance(value, str) else str(value)
                for name, value in fields.items()
                if value is not None
            },
            max_file_size_bytes=limit if isinstance(limit, int) and limit > 0 else None,
        )

    return Call(
        description=f"begin an upload of {_with_article(kind)}",
        method="POST",
        path="/uploads/{asset_type}/get_upload_url",
        makes="asset_id",
        ids={"asset_type": kind.value},
        read=read,
    )


def finalize_upload(asset_type: AssetKind | AssetType, asset_id: str) -> Call[str]:
    """
    Tell Mosaic that the bytes are in place; the answer is the asset's id.

    It is sent again after a fault, since nothing else can be done then; sending the bytes again would not help.
    Some versions of the API answer without the id: then it is the one that was asked for.

    :param asset_type: What was uploaded.
    :param asset_id: The id from :func:`start_upload`.
    """
    kind = validate_asset_type(asset_type)
    key = f"{kind.value}_id"

    def read(data: Any) -> str:
        try:
            return id_in(data, key)
        except InvalidResponse:
            return asset_id

    return Call(
        description=f"finalize the upload of {kind.value} {asset_id!r}",
        method="POST",
        path="/uploads/{asset_type}/finalize_upload",
        ids={"asset_type": kind.value},
        body={key: validate_id("asset_id", asset_id)},
        read=read,
        patience=_FINALIZE_PATIENCE,
    )


def get_view_url(asset_type: AssetKind | AssetType, asset_id: str) -> Call[ViewLink]:
    """
    Short-lived links to look at an uploaded asset
    (https://docs.mosaic.so/api/asset-management/post-uploads-get-view-url).

    :param asset_type: What it is.
    :param asset_id: The asset.
    """
    kind = validate_asset_type(asset_type)
    return Call(
        description=f"get a link to {kind.value} {asset_id!r}",
        method="POST",
        path="/uploads/get_view_url",
        body={"asset_type": kind.value, "asset_id": validate_id("asset_id", asset_id)},
        read=ViewLink.model_validate,
    )


def _with_article(kind: AssetType) -> str:
    return {"video": "a video", "audio": "an audio file", "image": "an image"}[kind.value]
