"""Check what a release checks, and the README of a release."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dev import release


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for package in ("airflow_provider_mosaic", "emulator/mosaic_emulator"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text('__version__ = "1.2.3"\n')
    changelog = "# Changelog\n\n## 1.2.3 - 2026-01-31\n\nNew.\n\n## 1.2.2 - 2026-01-01\n\nOld.\n"
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    return tmp_path


def test_a_tag_with_matching_versions_and_a_dated_entry_can_be_released(checkout: Path) -> None:
    assert release.problems("v1.2.3", checkout) == []
    assert release.notes(checkout) == "New.\n"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("airflow_provider_mosaic/__init__.py", "1.2.3", "1.2.4"),
        ("emulator/mosaic_emulator/__init__.py", "1.2.3", "1.2.2"),
        ("CHANGELOG.md", "2026-01-31", "unreleased"),
        ("CHANGELOG.md", "## 1.2.3", "## 1.2.4"),
        ("CHANGELOG.md", "## ", "### "),
    ],
)
def test_a_difference_stops_the_release(checkout: Path, file: str, old: str, new: str) -> None:
    path = checkout / file
    path.write_text(path.read_text().replace(old, new))
    [problem] = release.problems("v1.2.3", checkout)
    assert file in problem


def test_another_tag_stops_the_release(checkout: Path) -> None:
    assert len(release.problems("1.2.3", checkout)) == 3


@pytest.mark.parametrize("source_url", ["https://host.test/owner/name/blob/v1.2.3", ""])
def test_the_readme_of_a_release_has_no_relative_links(source_url: str) -> None:
    readme = (release.ROOT / "README.md").read_text(encoding="utf-8")
    built = release.with_absolute_links(readme, source_url)
    links = re.findall(r"\]\(([^)]+)\)", built)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert ("https://host.test/owner/name/blob/v1.2.3/docs/connection.md" in links) == bool(source_url)


def test_pictures_of_the_readme_are_absolute_or_left_out() -> None:
    text = "![A tab](docs/images/tab.png) and [pages](docs/pages.md)."
    source = "https://host.test/owner/name"
    assert release.with_absolute_links(text, f"{source}/blob/v1") == (
        f"![A tab]({source}/raw/v1/docs/images/tab.png) and [pages]({source}/blob/v1/docs/pages.md)."
    )
    assert release.with_absolute_links(text, "") == " and pages."
