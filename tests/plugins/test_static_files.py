"""The HTML, CSS and modules of the pages: no foreign code, no inline code, and the same JSON as the server."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import airflow_provider_mosaic.plugins
from airflow_provider_mosaic.plugins import pages

STATIC = Path(airflow_provider_mosaic.plugins.__path__[0]) / "static"
HTML = sorted(STATIC.glob("*.html"))
MODULES = sorted(STATIC.glob("*.js"))

#: The depth of each page below the plugin's prefix.
DEPTHS = {"task.html": 4, "last_night.html": 0}
#: Names of types in types.js that differ from those in pages.py.
RENAMED = {"Run": "RunDetails", "Post": "PostDetails"}


class Tags(HTMLParser):
    """All tags of a file with their attributes, and the text inside of scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_pages_load_only_files_that_exist(path: Path) -> None:
    prefix = "../" * DEPTHS[path.name] + "static/"
    addresses = [
        address for _, attributes in Tags(path).found for name in ("src", "href") if (address := attributes.get(name))
    ]
    assert addresses
    for address in addresses:
        assert address.startswith(prefix)
        assert (STATIC / address.removeprefix(prefix)).is_file()


@pytest.mark.parametrize("path", HTML, ids=lambda path: path.name)
def test_pages_have_no_inline_code(path: Path) -> None:
    tags = Tags(path)
    assert tags.inline == []
    for _, attributes in tags.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_never_turn_data_into_markup_or_code(path: Path) -> None:
    dangerous = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|new Function|setTimeout\(['\"]"
    )
    assert re.findall(dangerous, path.read_text()) == []


@pytest.mark.parametrize("path", [*MODULES, *STATIC.glob("*.css"), *STATIC.glob("*.svg")], ids=lambda path: path.name)
def test_files_name_no_other_host(path: Path) -> None:
    # The namespace of SVG is a name. An example in a comment is not requested.
    text = re.sub(r"http://www\.w3\.org/2000/svg|https://airflow\.example\.org", "", path.read_text())
    assert re.findall(r"https?://\w|url\(|@import", text) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_imported_modules_exist(path: Path) -> None:
    for name in re.findall(r"""(?:from|import\()\s*"(\./[^"]+)\"""", path.read_text()):
        assert (STATIC / name).is_file(), name


def test_modules_read_the_fields_that_the_server_sends() -> None:
    text = (STATIC / "types.js").read_text()
    blocks = re.split(r"@typedef \{object\} ", text)[1:]
    assert len(blocks) > 8
    for block in blocks:
        name = block.split()[0]
        model = getattr(pages, RENAMED.get(name, name))
        fields = set(re.findall(r"@property \{[^\n]*\} (\w+)", block))
        assert fields
        assert fields <= set(model.model_fields), f"types.js: {name}"
