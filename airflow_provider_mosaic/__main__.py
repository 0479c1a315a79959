"""``python -m airflow_provider_mosaic``: the commands of ``airflow mosaic``, also before Airflow 3.2."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from airflow.cli.cli_config import CLICommand, DefaultHelpParser, GroupCommand

from airflow_provider_mosaic.cli.definition import get_commands


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a command.

    :param arguments: Default: those of the process.
    """
    args = build_parser().parse_args(arguments)
    args.func(args)


def build_parser() -> DefaultHelpParser:
    """Return the parser of the commands."""
    [mosaic] = get_commands()
    parser = DefaultHelpParser(prog="python -m airflow_provider_mosaic", description=mosaic.help)
    _add_commands(parser, mosaic.subcommands)  # type: ignore[union-attr]
    return parser


def _add_commands(parser: argparse.ArgumentParser, commands: Iterable[CLICommand]) -> None:
    parsers = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for command in commands:
        child = parsers.add_parser(command.name, help=command.help, description=command.description or command.help)
        if isinstance(command, GroupCommand):
            _add_commands(child, command.subcommands)
            continue
        for argument in command.args:
            argument.add_to_parser(child)
        child.set_defaults(func=command.func)


if __name__ == "__main__":
    main()
