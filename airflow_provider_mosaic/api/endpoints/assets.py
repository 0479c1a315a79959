"""
Assets: uploaded videos, audio and images, for runs and avatar profiles.

An upload has three steps: :func:`start_upload` reserves an id and returns a signed form, the client posts the bytes to
the storage host with that form, and :func:`finalize_upload` registers the asset
(https://docs.mosaic.so/api/asset-management/upload-flow).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from airflow_provider_mosaic.api.arguments import validate_id
from airflow_provider_mosaic.api.call import Call, InvalidResponse
from airflow_provider_mosaic.api.file_links import link_secrets
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.api.models import Id, Model, Words, as_count, id_in, object_in, read_object, text_in
from airflow_provider_mosaic.api.options import AssetKind, validate_asset_kind
from airflow_provider_mosaic.api.redaction import values

#: Seconds. Mosaic can only check size, duration and format of an asset when it is finalized.
_FINALIZE_TIMEOUT = 180.0
_WITH_ARTICLE = {AssetType.VIDEO: "a video", AssetType.AUDIO: "an audio file", AssetType.IMAGE: "an image"}


class UploadForm(Model):
    """
    A signed form for one upload. It is a credential, so ``repr`` shows neither its URL nor its fields.

    :param asset_id: Id of the asset, valid after :func:`finalize_upload`.
    :param upload_url: Address of the storage host. Never send the API key there.
    :param upload_fields: Form fields, to be sent verbatim and in this order before the part ``file``.
    :param max_file_size_bytes: None if the API reports no limit.
    """

    asset_id: Id
    upload_url: str = Field(repr=False)
    upload_fields: dict[str, str] = Field(repr=False)
    max_file_size_bytes: int | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values to mask in texts of the storage host, which may repeat them."""
        return values((*self.upload_fields.values(), *link_secrets(self.upload_url)))

    @property
    def signature(self) -> tuple[str, ...]:
        """The values of :attr:`secrets` that do not identify the asset."""
        fields = [value for name, value in self.upload_fields.items() if name != "key" and value != self.asset_id]
        return values((*fields, *link_secrets(self.upload_url, path=False)))


class ViewLink(Model):
    """Signed links to an asset. How long they are valid is not documented."""

    asset_type: Words = None
    asset_id: Words = None
    signed_url: str = Field(repr=False)
    thumbnail_url: Words = Field(default=None, repr=False)


def validate_asset_type(value: AssetKind | AssetType) -> AssetType:
    """Return the asset type of a name. Raise :class:`MosaicValidationError` if there is none."""
    return AssetType(validate_asset_kind("asset_type", value))


def start_upload(asset_type: AssetKind | AssetType) -> Call[UploadForm]:
    """
    Reserve an asset id and return a signed form for the upload.

    Request a new form for each attempt. The provider assumes that unused forms expire.
    API page: https://docs.mosaic.so/api/asset-management/post-uploads-video-get-upload-url

    :param asset_type: ``video``, ``audio`` or ``image``.
    """
    kind = validate_asset_type(asset_type)
    key = f"{kind.value}_id"

    def read(data: Any) -> UploadForm:
        body = object_in(data)
        # 2025: "fields".
        fields = next((body[name] for name in ("upload_fields", "fields") if body.get(name) is not None), None)
        if not isinstance(fields, dict):
            raise InvalidResponse("the field 'upload_fields' is missing")
        return UploadForm(
            asset_id=id_in(data, key, "id"),
            upload_url=text_in(data, "upload_url"),
            # The storage host rejects a form with the text "None" in it.
            upload_fields={name: str(value) for name, value in fields.items() if value is not None},
            max_file_size_bytes=max(0, as_count(body.get("max_file_size_bytes"))) or None,
        )

    return Call(
        description=f"start an upload of {_WITH_ARTICLE[kind]}",
        method="POST",
        path="/uploads/{asset_type}/get_upload_url",
        makes="asset_id",
        ids={"asset_type": kind.value},
        read=read,
    )


def finalize_upload(asset_type: AssetKind | AssetType, asset_id: str) -> Call[str]:
    """
    Register an uploaded asset and return its id.

    The request is retried: Mosaic has returned 500 for valid files. If that lasts, upload the file again.
    The response of 2025 has no id; the result is then ``asset_id``.
    API page: https://docs.mosaic.so/api/asset-management/post-uploads-video-finalize-upload

    :param asset_type: ``video``, ``audio`` or ``image``.
    :param asset_id: The id from :func:`start_upload`.
    :raises MosaicValidationError: The bytes are not uploaded yet, or the file is too large or too long.
    :raises MosaicNotFoundError: The id is unknown, or its form has expired.
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
        min_timeout=_FINALIZE_TIMEOUT,
    )


def get_view_url(asset_type: AssetKind | AssetType, asset_id: str) -> Call[ViewLink]:
    """
    Return short-lived signed links to an uploaded asset.

    API page: https://docs.mosaic.so/api/asset-management/post-uploads-get-view-url

    :param asset_type: ``video``, ``audio`` or ``image``.
    """
    kind = validate_asset_type(asset_type)
    return Call(
        description=f"get a link to {kind.value} {asset_id!r}",
        method="POST",
        path="/uploads/get_view_url",
        body={"asset_type": kind.value, "asset_id": validate_id("asset_id", asset_id)},
        read=read_object(ViewLink),
    )
