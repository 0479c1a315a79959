"""
Prepare a release: ``make release-check`` and ``make dist``. Needs only the standard library.

The README is also the page on the package index, where relative links lead nowhere. ``make dist`` makes them absolute
with ``SOURCE_URL``, the address of the tagged source. Without it, the links become plain text.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from dev.paths import ROOT

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?://)([^)\s]+)\)")
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_RELEASE = re.compile(r"^## (\S+) - (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_DISTRIBUTIONS = ("airflow_provider_mosaic", "emulator/mosaic_emulator")


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Return why a tag cannot be released: both versions and the newest entry of the changelog must be the tag's."""
    found = []
    for package in _DISTRIBUTIONS:
        match = _VERSION.search((root / package / "__init__.py").read_text(encoding="utf-8"))
        version = match[1] if match else "missing"
        if f"v{version}" != tag:
            found.append(f"The tag is {tag}. The version in {package}/__init__.py is {version}.")
    newest = _RELEASE.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if newest is None or f"v{newest[1]}" != tag:
        found.append(f"The tag is {tag}. The newest entry of CHANGELOG.md is {newest[1] if newest else 'missing'}.")
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        found.append(f"The entry for {newest[1]} in CHANGELOG.md has the date {newest[2]!r}. Write it as 2026-01-31.")
    return found


def with_absolute_links(text: str, source_url: str) -> str:
    """
    Return a page with absolute links to the source, or without these links and pictures if there is no address.

    :param source_url: The folder of the source in the form of GitHub, ``https://.../blob/<tag>``. Pictures are behind
        ``raw`` instead of ``blob``.
    """
    if not source_url:
        return _LINK.sub(r"\1", _PICTURE.sub("", text))
    base_url = source_url.rstrip("/")
    pictures = base_url.replace("/blob/", "/raw/")
    return _LINK.sub(rf"[\1]({base_url}/\2)", _PICTURE.sub(rf"![\1]({pictures}/\2)", text))


def notes(root: Path = ROOT) -> str:
    """Return the newest entry of the changelog, without its heading."""
    newest = _RELEASE.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    return newest[3].strip() + "\n" if newest else ""


def main(arguments: list[str] | None = None) -> int:
    """Check a tag, or prepare the README and the notes for a build."""
    parser = argparse.ArgumentParser(prog="python -m dev.release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check").add_argument("tag")
    prepare = commands.add_parser("prepare")
    prepare.add_argument("readme", type=Path)
    prepare.add_argument("notes", type=Path)
    chosen = parser.parse_args(arguments)
    if chosen.command == "check":
        found = problems(chosen.tag)
        print("\n".join(found) or f"{chosen.tag} can be released.")
        return 1 if found else 0
    source_url = os.environ.get("SOURCE_URL", "")
    readme = chosen.readme.read_text(encoding="utf-8")
    chosen.readme.write_text(with_absolute_links(readme, source_url), encoding="utf-8")
    chosen.notes.write_text(with_absolute_links(notes(), source_url), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
