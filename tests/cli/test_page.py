"""Every command on the page of the command line can be run as it is written, and no command is missing."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from airflow.cli.cli_config import DefaultHelpParser

from airflow_provider_mosaic.__main__ import build_parser
from airflow_provider_mosaic.cli.definition import get_commands

from .test_definition import commands

DOCS = Path(__file__).parents[2] / "docs"
PREFIX = re.compile(r"(?:airflow mosaic|python -m airflow_provider_mosaic) (.*)")
LINES = [
    (page.name, found[1])
    for page in sorted(DOCS.glob("*.md"))
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if (found := PREFIX.match(line))
]


@pytest.fixture(scope="module")
def parser() -> DefaultHelpParser:
    return build_parser()


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda value: value)
def test_a_documented_command_is_valid(parser: DefaultHelpParser, page: str, line: str) -> None:
    arguments = shlex.split(line.partition(" > ")[0])
    assert callable(parser.parse_args(arguments).func)


def test_every_command_has_an_example() -> None:
    [mosaic] = get_commands()
    for names, _ in commands(mosaic):
        command = " ".join(names[1:])
        assert any(page == "cli.md" and line.startswith(command) for page, line in LINES), command
