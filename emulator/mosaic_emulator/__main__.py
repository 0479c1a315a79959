"""Command line: ``python -m mosaic_emulator`` or ``mosaic-emulator``."""

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
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="mosaic-emulator",
        description="A local emulator of the Mosaic API: uploads, runs, renders, posts, and faults on request.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8765, help="port of the API, 0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--storage-port", type=_port, default=0, help="port of the storage host (default: a free one)")
    parser.add_argument("--directory", type=Path, help="where files are stored (default: a temporary directory)")
    parser.add_argument(
        "--api-key",
        help=f"accepted API key (default: mk_emulator); use {KEY_VARIABLE} to keep it out of the process list",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="further host name for the page and the control interface (repeatable)",
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="divides all durations of runs and posts (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting; the value is JSON or plain text (repeatable)",
    )
    parser.add_argument("--ready-file", type=Path, help="file to write url, api_key and pid to when ready")
    # Reads one JSON line with api_key and settings from standard input, and stops when standard input closes.
    parser.add_argument("--from-parent", action="store_true", help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands other than the server")
    demo = commands.add_parser("demo", help="run the nightly pipeline on a real Airflow, with failures that heal")
    demo.add_argument(
        "--directory",
        dest="results",
        type=Path,
        help="where to create the folder with the videos (default: the directory for temporary files)",
    )
    demo.add_argument(
        "--keep",
        action="store_true",
        default=None,
        help="leave Airflow and the emulator running until Enter or Ctrl-C (default: only on a terminal)",
    )
    demo.add_argument("--no-keep", dest="keep", action="store_false", help="stop them at the end")
    sample = commands.add_parser("sample", help="write a short recording")
    sample.add_argument("file", type=Path, help="the MP4 file to write")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = build_parser().parse_args(arguments)
    if options.command == "demo":
        from mosaic_emulator.demo import command

        # Standard input is None if the shell closed it.
        is_terminal = sys.stdin is not None and sys.stdin.isatty()
        return command.main(directory=options.results, keep=is_terminal if options.keep is None else options.keep)
    if options.command == "sample":
        return _write_sample(options.file)
    # Removed from the environment, so that ffmpeg does not inherit them.
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
        sys.stderr.write(f"The emulator needs {error.name}. Install it: pip install airflow-provider-mosaic-emulator\n")
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
            sys.stderr.write(f"The emulator could not start on {options.host}, port {options.port}: {error}\n")
            return 1
    return 0


def _port(text: str) -> int:
    """Parse a port. argparse shows the message of the error."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _write_sample(path: Path) -> int:
    from mosaic_emulator.demo import recordings

    try:
        recordings.create(path, recordings.RECORDINGS[0])
    except OSError as error:
        sys.stderr.write(f"The recording could not be written: {error}\n")
        return 1
    sys.stdout.write(f"{path.resolve()}\n")
    return 0


def _first_line() -> bytes:
    """Read one line of standard input, byte by byte: buffering would hide the end of the input."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.exit(main())
