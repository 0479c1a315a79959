"""Places that Airflow's object storage can't read: an error that names the argument, and nothing is half done."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.hooks.places import Folder, source_at, text_at

ACCESS = Access(api_key="mk_x")
ROLES: dict[str, Callable[[Any], Any]] = {
    "source": lambda place: source_at(place, ACCESS),
    "destination": Folder,
    "definition": lambda place: text_at("definition", place, beside="."),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "chain", ["zip://a.mp4::{path}", "zip://a.mp4::file://{path}", "simplecache::s3://b/a", "memory://a::b/c.mp4"]
)
def test_a_chain_of_storages_is_refused_by_name(role: str, chain: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", "a film")
    with pytest.raises(MosaicValidationError, match=f"^{role}=.*can't be chained"):
        ROLES[role](chain.format(path=path))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", ["zip://a.mp4", "tar://a.mp4", "dir://a", "reference://a", "filecache://a"])
def test_a_storage_that_needs_more_than_a_uri_is_refused_by_name(role: str, place: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^{role}="):
        ROLES[role](place)


def test_a_local_name_may_hold_two_colons(tmp_path: Path) -> None:
    path = tmp_path / "a::b.mp4"
    path.write_bytes(b"a film")
    assert source_at(str(path), ACCESS).size == 6


def test_a_web_address_may_hold_two_colons() -> None:
    with pytest.raises(MosaicTransportError, match="could not be reached"):
        source_at("https://x.invalid/a::b.mp4?of=s3://c", ACCESS)
