"""``python -m mosaic_emulator``: serve a local Mosaic until it is told to end."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mosaic_emulator.settings import Settings, parse_assignment

KEY_VARIABLE = "MOSAIC_EMULATOR_API_KEY"
SECRET_VARIABLE = "MOSAIC_EMULATOR_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


def build_parser() -> argparse.ArgumentParser:
    """Make the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m mosaic_emulator",
        description="A local Mosaic: the documented API, uploads, runs, renders, posts, and faults on request.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8765, help="port of the API, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--storage-port", type=int, default=0, help="port of the storage host (default: a free one)")
    parser.add_argument("--directory", type=Path, help="where files are kept (default: one that goes with the process)")
    parser.add_argument(
        "--api-key",
        help=f"the key that is let in (default: mk_emulator); {KEY_VARIABLE} keeps it out of the list of processes",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which a browser may reach the emulator's own page and interface",
    )
    parser.add_argument("--speed", type=float, default=1.0, help="how much faster than life (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting; the value is JSON or plain text"
    )
    parser.add_argument("--ready-file", type=Path, help="written with url, api_key and pid once requests are taken")
    # For a parent process: one line of JSON with api_key and settings, and the end of the input ends the emulator.
    parser.add_argument("--from-parent", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    options = build_parser().parse_args(arguments)
    # Taken out of the environment, so that ffmpeg does not inherit them.
    api_key = os.environ.pop(KEY_VARIABLE, None)
    secret = os.environ.pop(SECRET_VARIABLE, None)
    try:
        assignments: dict[str, object] = {"speed": options.speed, **dict(map(parse_assignment, options.set))}
        if options.from_parent:
            payload = json.loads(_first_line())
            api_key = payload["api_key"]
            assignments |= payload["settings"]
        elif secret is not None:
            assignments.setdefault("webhook_secret", secret)
        settings = Settings.model_validate(assignments)
    except ValidationError as error:
        for each in error.errors():
            sys.stderr.write(f"setting {'.'.join(map(str, each['loc']))}: {each['msg']}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"--set: {error}\n")
        return 2
    try:
        from mosaic_emulator.server import DEFAULT_API_KEY, ServerOptions, serve
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"The emulator needs {error.name}, which comes with Airflow: "
            "pip install 'airflow-provider-mosaic[emulator]'\n"
        )
        return 1
    with tempfile.TemporaryDirectory(prefix="mosaic-emulator-", ignore_cleanup_errors=True) as temporary:
        try:
            serve(
                ServerOptions(
                    host=options.host,
                    port=options.port,
                    storage_port=options.storage_port,
                    directory=options.directory or Path(temporary),
                    api_key=options.api_key or api_key or DEFAULT_API_KEY,
                    allowed_hosts=tuple(options.allow_host),
                    settings=settings,
                    ready_file=options.ready_file,
                    end_with_parent=options.from_parent,
                )
            )
        except OSError as error:
            sys.stderr.write(f"The emulator could not start: {error}\n")
            return 1
    return 0


def _first_line() -> bytes:
    """Read a line of standard input and nothing behind it: the end of the input is waited for elsewhere."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
