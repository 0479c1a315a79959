"""Paths of users: what is read and written, and errors that name the argument."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.errors import MosaicTransportError, MosaicValidationError
from airflow_provider_mosaic.hooks.paths import DownloadDirectory, get_source, read_text

ACCESS = Access(api_key="mk_x")
ROLES: dict[str, Callable[[Any], Any]] = {
    "source": lambda place: get_source(place, ACCESS),
    "destination": DownloadDirectory,
    "definition": lambda place: read_text("definition", place, directory="."),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "chain", ["zip://a.mp4::{path}", "zip://a.mp4::file://{path}", "simplecache::s3://b/a", "memory://a::b/c.mp4"]
)
def test_chained_storages_are_rejected(role: str, chain: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", "a film")
    with pytest.raises(MosaicValidationError, match=f"^{role}=.*can't be chained"):
        ROLES[role](chain.format(path=path))


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.mp4").write_bytes(b"a film")
    assert get_source("~/a.mp4", ACCESS).size == 6
    assert DownloadDirectory("~/edited").uri_of("a.mp4") == str(tmp_path / "edited" / "a.mp4")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", ["zip://a.mp4", "tar://a.mp4", "dir://a", "reference://a", "filecache://a"])
def test_a_storage_that_needs_options_is_rejected(role: str, place: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^{role}="):
        ROLES[role](place)


def test_a_local_name_may_contain_two_colons(tmp_path: Path) -> None:
    path = tmp_path / "a::b.mp4"
    path.write_bytes(b"a film")
    assert get_source(str(path), ACCESS).size == 6


def test_a_url_may_contain_two_colons() -> None:
    with pytest.raises(MosaicTransportError, match="could not be reached"):
        get_source("https://x.invalid/a::b.mp4?of=s3://c", ACCESS)


# Definitions beside a DAG file, which may be in a zip file


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """A zip file with DAG files and definitions, and a definition beside it."""
    path = tmp_path / "dags.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dag.py", "")
        archive.writestr("agents/nightly.yaml", "name: zipped ü")
        archive.writestr("agents/latin.yaml", "name: ü".encode("latin-1"))
        archive.writestr("agents/large.yaml", b" " * (9 * 1024 * 1024))
    (tmp_path / "beside.yaml").write_text("name: beside")
    return path


@pytest.mark.parametrize(
    ("place", "folder", "text"),
    [
        ("agents/nightly.yaml", "", "name: zipped ü"),
        ("../agents/./nightly.yaml", "teams", "name: zipped ü"),
        ("nightly.yaml", "agents", "name: zipped ü"),
        ("../beside.yaml", "", "name: beside"),
        ("../../beside.yaml", "agents", "name: beside"),
    ],
)
def test_a_definition_in_a_zip_is_read_from_it(zipped: Path, place: str, folder: str, text: str) -> None:
    assert read_text("definition", place, directory=str(zipped / folder)) == text
    assert read_text("definition", str(zipped / folder / place), directory=".") == text


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("agents/missing.yaml", "there is no such file in"),
        ("../missing.yaml", "there is no such file in"),
        ("dag.py/agent.yaml", "there is no such file in"),
        ("agents", "there is no such file in"),
        ("agents/latin.yaml", "not UTF-8"),
        ("agents/large.yaml", "more than"),
    ],
)
def test_an_error_of_a_file_in_a_zip_names_the_argument(zipped: Path, place: str, message: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^definition=.*{message}") as error:
        read_text("definition", place, directory=str(zipped))
    assert not error.value.transient


@pytest.mark.parametrize("damage", ["no zip", "cut", "encrypted"])
def test_an_unreadable_zip_is_rejected(zipped: Path, damage: str) -> None:
    content = bytearray(zipped.read_bytes())
    if damage == "no zip":
        content = bytearray(b"not a zip file")
    elif damage == "cut":
        content[40:60] = bytes(20)
    else:
        # Set the encryption flag in both headers of each member.
        for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = -1
            while (at := content.find(mark, at + 1)) >= 0:
                content[at + place] |= 1
    zipped.write_bytes(content)
    for place in ("agents/nightly.yaml", "dag.py") if damage == "encrypted" else ("agents/nightly.yaml",):
        with pytest.raises(MosaicValidationError, match=r"^definition="):
            read_text("definition", place, directory=str(zipped))


# Invalid paths


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("place", ["a\0b.mp4", "/tmp/a\0/b.yaml", "file:///tmp/a\0b.mp4"])
def test_a_nul_in_a_path_is_rejected(role: str, place: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^{role}=.*NUL"):
        ROLES[role](place)


def test_a_nul_in_a_storage_path_is_rejected(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    place = ObjectStoragePath(f"file://{tmp_path}/a\0b.mp4")
    for role in ("source", "definition"):
        with pytest.raises(MosaicValidationError, match=f"^{role}="):
            ROLES[role](place)
    with pytest.raises(MosaicValidationError, match=r"^destination="):
        DownloadDirectory(ObjectStoragePath(f"file://{tmp_path}")).size_of("a\0b.mp4")


@pytest.mark.parametrize("role", ["source", "definition"])
def test_a_file_as_a_directory_of_the_path_is_rejected(role: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(MosaicValidationError, match=f"^{role}=.*no such file") as error:
        ROLES[role](str(tmp_path / "file" / "agent.yaml"))
    assert not error.value.transient
    with pytest.raises(MosaicValidationError, match=f"^{role}="):
        ROLES[role](f"file://{tmp_path}/file/agent.yaml")


@pytest.mark.parametrize("place", ["/tmp/caf\udce9", "out/\ud83d", "file:///tmp/\udce9"])
def test_a_destination_that_xcom_cannot_store_is_rejected(place: str) -> None:
    with pytest.raises(MosaicValidationError, match=r"^destination=.*not UTF-8") as error:
        DownloadDirectory(place)
    str(error.value).encode()


@pytest.mark.parametrize("name", [b"caf\xe9.mp4", b"\xff\xfe.mp4"])
def test_a_source_with_a_name_that_is_not_utf_8_is_read(name: bytes, tmp_path: Path) -> None:
    import os

    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:  # noqa: PTH123 - a path of bytes
        file.write(b"a film")
    source = get_source(os.fsdecode(path), ACCESS)
    assert source.size == 6
    source.shown.encode()
    with pytest.raises(MosaicValidationError, match="no such file") as error:
        get_source(os.fsdecode(path) + ".not-there", ACCESS)
    str(error.value).encode()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("file://localhost/tmp/films", "has no host: write file:///"),
        ("file://films", "has no host"),
        ("file://", "has no host"),
        ("file:/tmp/films", "write file:// with two slashes"),
        (str(Path("s3://bucket/films")), "write s3:// with two slashes"),
        ("memory://", "names no place in the storage"),
        ("s3://", "names no place in the storage"),
        ("s3:///films", "names no bucket"),
        ("gs:///films", "names no bucket"),
    ],
)
def test_uris_that_would_be_read_as_another_place_are_rejected(role: str, place: str, reason: str) -> None:
    with pytest.raises(MosaicValidationError, match=f"^{role}=.*{reason}"):
        ROLES[role](place)
