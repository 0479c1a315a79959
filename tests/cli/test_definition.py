"""The commands are in Airflow's own command line where it supports that, and cost nothing until they run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module

import pytest
from airflow.cli.cli_config import ActionCommand, CLICommand, GroupCommand

from airflow_provider_mosaic.__main__ import main
from airflow_provider_mosaic.airflow_compat import has_provider_commands
from airflow_provider_mosaic.cli.definition import get_commands
from airflow_provider_mosaic.get_provider_info import get_provider_info


def commands(group: CLICommand, *prefix: str) -> Iterator[tuple[tuple[str, ...], ActionCommand]]:
    """Yield all commands of a group with their names."""
    if isinstance(group, ActionCommand):
        yield (*prefix, group.name), group
    else:
        for command in group.subcommands:
            yield from commands(command, *prefix, group.name)


@pytest.fixture
def mosaic() -> GroupCommand:
    [group] = get_commands()
    assert isinstance(group, GroupCommand)
    return group


def test_the_metadata_names_the_definition(mosaic: GroupCommand) -> None:
    [path] = get_provider_info()["cli"]
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name) is get_commands
    assert mosaic.name == "mosaic"


def test_every_command_has_help_and_a_function(mosaic: GroupCommand) -> None:
    found = dict(commands(mosaic))
    assert {" ".join(names[1:]) for names in found} == {
        "whoami",
        *(f"agents {verb}" for verb in ("list", "export", "diff", "apply")),
        "webhook url",
        *(f"runs {verb}" for verb in ("list", "show", "cancel", "resume", "adopt")),
    }
    for command in found.values():
        # lazy_load_command names the function after the imported one.
        assert callable(command.func)
        assert command.help
        assert not command.help.endswith(".")


@pytest.mark.skipif(not has_provider_commands(), reason="before Airflow 3.2, providers have no commands")
def test_airflow_has_the_commands() -> None:
    code = (
        "from airflow.cli import cli_parser\n"
        "args = cli_parser.get_parser().parse_args(['mosaic', 'runs', 'list', '--limit', '3', '-o', 'json'])\n"
        "import json, sys\n"
        "print()\n"
        "print(json.dumps([args.limit, [name for name in sys.modules if name.startswith('airflow_provider_mosaic.')]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tempfile.gettempdir()
    )
    limit, ours = json.loads(done.stdout.splitlines()[-1])
    assert limit == 3
    # Not the commands, nor anything that they need.
    assert {name.removeprefix("airflow_provider_mosaic.") for name in ours} == {
        "cli",
        "cli.definition",
        "connection_form",
        "get_provider_info",
    }


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["runs", "adopt", "--help"]], ids=" ".join)
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    assert "usage: python -m airflow_provider_mosaic" in capsys.readouterr().out
