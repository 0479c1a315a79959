"""What makes a function a command: its connection, errors, output and confirmation."""

from __future__ import annotations

import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow.cli.simple_table import AirflowConsole
from airflow.utils.cli import action_cli, suppress_logs_and_warning

from airflow_provider_mosaic.airflow_compat import enable_database_search
from airflow_provider_mosaic.api.errors import MosaicError
from airflow_provider_mosaic.api.redaction import one_line

#: Characters of a value in the output.
_MAX_VALUE_LENGTH = 2000


def command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """
    Make a command of a function: it prints no logs without ``--verbose``, and errors without a traceback.

    The exit status is 1 after an error.
    """

    @suppress_logs_and_warning
    @functools.wraps(function)
    def run(args: Namespace) -> None:
        enable_database_search()
        try:
            function(args)
            sys.stdout.flush()
        except MosaicError as error:
            raise SystemExit("\n".join(error.lines)) from None
        except KeyboardInterrupt:
            raise SystemExit("\nInterrupted. A request that was sent before may have had its effect.") from None
        except BrokenPipeError:
            # The reader of a pipe, for example `head`, has enough. Python would complain once more at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except Exception as error:
            # For example an Airflow database that cannot be reached.
            if args.verbose:
                raise
            raise SystemExit(
                f"{type(error).__name__}: {one_line(str(error))}\n"
                "Repeat the command with --verbose to see where it failed."
            ) from None

    return run


def changing_command(function: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """Make a command of a function that changes something. Airflow's audit log records its start and its arguments."""
    return command(action_cli(check_db=False)(function))


def print_rows(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """
    Print rows with the same columns, as Airflow's own commands do.

    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    blank = "" if output in ("table", "plain") else None
    texts = [{name: _printable(value, blank) for name, value in row.items()} for row in rows]
    # The texts come from a server: without markup, it cannot style them.
    AirflowConsole(markup=False, emoji=False, highlight=False).print_as(data=texts, output=output)


def print_fields(fields: Mapping[str, Any], output: str) -> None:
    """Print one object: as a row for each field, or as a list with one object for ``json`` and ``yaml``."""
    if output not in ("table", "plain"):
        print_rows([fields], output)
        return
    rows = [
        {"field": name, "value": ", ".join(map(str, value)) if isinstance(value, list) else value}
        for name, value in fields.items()
    ]
    print_rows(rows, output)


def _printable(value: Any, blank: str | None) -> Any:
    if value is None:
        return blank
    if isinstance(value, list):
        return [_printable(each, blank) for each in value]
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return one_line(text, longest=_MAX_VALUE_LENGTH)


def print_line(text: str) -> None:
    """Print a sentence, or a line of a list."""
    sys.stdout.write(f"{one_line(text, longest=_MAX_VALUE_LENGTH)}\n")


def confirm(args: Namespace, effect: str) -> None:
    """
    Print the effect of a command, and stop the command unless the user agrees or passed ``--yes``.

    :param effect: What the command does and costs.
    """
    print_line(effect)
    if args.yes:
        return
    try:
        answer = input("Proceed? (y/n) ")
    except EOFError:
        raise SystemExit("\nNothing was sent. Confirm with --yes where there is no terminal.") from None
    if answer.strip().lower() not in ("y", "yes"):
        raise SystemExit("Nothing was sent.")
