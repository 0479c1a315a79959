"""The type of a file, by its name or as the ``asset_type`` argument."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mosaic.api.endpoints.assets import validate_asset_type
from airflow_provider_mosaic.api.errors import MosaicValidationError
from airflow_provider_mosaic.api.media_types import AssetType, media_type_of


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("a.mp4", AssetType.VIDEO, "video/mp4"),
        ("folder.png/A.MOV", AssetType.VIDEO, "video/quicktime"),
        ("c:\\videos\\a.b.mkv", AssetType.VIDEO, "video/x-matroska"),
        ("a.m4a", AssetType.AUDIO, "audio/mp4"),
        ("a.opus", AssetType.AUDIO, "audio/opus"),
        ("a.JPG", AssetType.IMAGE, "image/jpeg"),
        ("a.svg", AssetType.IMAGE, "image/svg+xml"),
    ],
)
def test_media_type_of_documented_suffix(name: str, kind: AssetType, media_type: str) -> None:
    assert media_type_of(name) == (kind, media_type)
    assert media_type_of(name, kind) == (kind, media_type)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.txt", "the asset type is unknown for .txt"),
        ("a.mxf", "Set asset_type to video, audio or image"),
        ("a", "the asset type is unknown for a name without a suffix"),
        (".mp4", "the asset type is unknown for a name without a suffix"),
    ],
)
def test_undocumented_suffix_needs_asset_type(name: str, words: str) -> None:
    with pytest.raises(MosaicValidationError, match=rf"^source={name!r}.*{words}"):
        media_type_of(name)


@pytest.mark.parametrize(
    ("name", "kind", "media_type"),
    [
        ("a.mxf", AssetType.VIDEO, "application/mxf"),
        ("a.MPG", AssetType.VIDEO, "video/mpeg"),
        ("a.ts", AssetType.VIDEO, "video/mp2t"),
        ("a.wmv", AssetType.VIDEO, "video/x-ms-wmv"),
        ("a.3gp", AssetType.VIDEO, "video/3gpp"),
        ("a.heic", AssetType.IMAGE, "image/heic"),
        ("a.aiff", AssetType.AUDIO, "audio/aiff"),
        ("a.mp4", AssetType.AUDIO, "video/mp4"),
        ("a.mp3", AssetType.VIDEO, "audio/mpeg"),
        ("a", AssetType.VIDEO, "application/octet-stream"),
        ("a.txt", AssetType.VIDEO, "application/octet-stream"),
        ("a.r3d", AssetType.VIDEO, "application/octet-stream"),
    ],
)
def test_asset_type_argument_overrides_suffix(name: str, kind: AssetType, media_type: str) -> None:
    assert media_type_of(name, kind) == (kind, media_type)


@pytest.mark.parametrize("value", ["Video", "film", "", None, 5])
def test_invalid_asset_type_is_rejected(value: Any) -> None:
    with pytest.raises(MosaicValidationError, match=rf"^asset_type={value!r}.*one of video, audio, image"):
        validate_asset_type(value)
