"""
Compare uploads and downloads with curl's: the same file and the same server.

    python benchmarks/transfer.py [--size 1GiB] [--rounds 5] [--tls]

Each round starts a process of ours. Its first two transfers are for memory alone: they load modules, and malloc maps
a new block for each of them, which costs up to twice the system time in page faults. The next transfers are in turns
with curl. A turn gives one ratio, and the table has the median of all ratios: a machine that slows down changes both.

Memory is the peak of the resident set over its size before the first transfer. The server reads into one buffer, and
sends by sendfile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from goals import Row, report

_BLOCK = 256 * 1024
_MIB = 1024 * 1024
#: Transfers of a process that are not timed.
_WARM_UP = 2
#: Pairs of transfers, curl's and ours, in each round.
_PAIRS = 3


# --- the server ---


def serve(file: str, certificate: str | None) -> None:
    """Serve one connection after the other on a free port, and print the port."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    buffer = memoryview(bytearray(_BLOCK))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            # An error of a client must not end the server.
            with suppress(OSError), connection:
                if context:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        respond(secured, file, buffer)
                        secured.unwrap()
                else:
                    respond(connection, file, buffer)


def respond(connection: socket.socket, file: str, buffer: memoryview) -> None:
    """Receive a form, or send the file."""
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(64 * 1024)
        if not more:
            return
        head += more
    head, _, body = head.partition(b"\r\n\r\n")
    if head.startswith(b"GET"):
        size = Path(file).stat().st_size
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
        with Path(file).open("rb") as stream:
            connection.sendfile(stream)
        return
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
    if re.search(rb"(?i)expect: 100-continue", head):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    received = len(body)
    # A blocking recv would wake the server for each segment, at the cost of the sender.
    connection.setblocking(False)
    while received < length:
        try:
            count = connection.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            time.sleep(0.00005)
            continue
        if not count:
            return
        received += count
    connection.setblocking(True)
    connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


@contextmanager
def server(file: Path, certificate: Path | None) -> Iterator[str]:
    """Run the server in its own process, and yield its URL."""
    command = [
        sys.executable,
        __file__,
        "--serve",
        str(file),
        *(["--certificate", str(certificate)] if certificate else []),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.communicate()


# --- what is measured ---


def status(key: str, process: int | str = "self") -> int:
    """Return bytes from /proc/.../status; 0 for a process that has ended."""
    match = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(match[1]) * 1024 if match else 0


def transfer_on_request(kind: str, address: str, file: str) -> None:
    """Transfer the file for each line of stdin, and print what it took."""
    import requests

    from airflow_provider_mosaic.api.endpoints.assets import UploadForm
    from airflow_provider_mosaic.api.file_links import LinkPolicy
    from airflow_provider_mosaic.clients.destinations import local_destination
    from airflow_provider_mosaic.clients.download import fetch
    from airflow_provider_mosaic.clients.sources import local_source
    from airflow_provider_mosaic.clients.upload import send_form

    form = UploadForm(asset_id="a", upload_url=f"{address}/", upload_fields={"key": "k", "policy": "p"})

    def transfer() -> None:
        if kind == "upload":
            send_form(form, local_source(file), "video/mp4", policy=LinkPolicy(loopback=True))
        elif kind == "download":
            fetch(lambda: f"{address}/file", local_destination(file), policy=LinkPolicy(loopback=True))
        else:
            with Path(file).open("rb") as stream:
                requests.post(form.upload_url, data=form.upload_fields, files={"file": stream}).raise_for_status()

    Path("/proc/self/clear_refs").write_text("5")
    idle = status("VmRSS")
    for _ in sys.stdin:
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        transfer()
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": status("VmHWM") - idle}), flush=True)


Figures = dict[str, float]


@contextmanager
def our_process(kind: str, address: str, file: Path) -> Iterator[Callable[[], Figures]]:
    """Start a process of ours, and yield a function that transfers the file in it."""
    command = [sys.executable, __file__, "--child", kind, address, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def transfer() -> Figures:
            stdin.write("\n")
            return dict(json.loads(stdout.readline()))

        yield transfer


def curl(arguments: list[str]) -> Figures:
    """Run curl, and return its own time of the transfer, and the CPU time and peak memory of its process."""
    command = ["curl", "-sS", "--fail", "--http1.1", "-w", "%{stderr}%{time_total}", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peak = ended = code = 0
    while not ended:
        # ru_maxrss of a child includes its parent's memory before the exec.
        peak = max(peak, status("VmHWM", process.pid))
        ended, code, used = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0 if ended else 0.002)
    process.returncode = os.waitstatus_to_exitcode(code)
    assert process.stderr
    with process.stderr as stream:
        output = stream.read()
    if process.returncode:
        raise SystemExit(f"curl failed with {process.returncode}: {output}")
    return {"seconds": float(output), "cpu": used.ru_utime + used.ru_stime, "memory": peak}


# --- the table ---


@dataclass(kw_only=True)
class Comparison:
    """The transfers of one kind: ours and curl's, pair by pair."""

    ours: list[Figures] = field(default_factory=list)
    curl: list[Figures] = field(default_factory=list)
    memory: float = 0.0

    def ratio(self, key: str) -> float:
        """Return the median of the ratios of ours to curl's."""
        return statistics.median(ours[key] / curl[key] for ours, curl in zip(self.ours, self.curl, strict=True))


def measure(size: int, rounds: int, folder: Path, landed: Path, *, tls: bool) -> None:
    source = folder / "source.mp4"
    block = os.urandom(16 * _MIB)
    with source.open("wb") as stream:
        for start in range(0, size, len(block)):
            stream.write(block[: size - start])
    certificate = self_signed(folder) if tls else None
    if certificate:
        os.environ["REQUESTS_CA_BUNDLE"] = str(certificate)
    trust = ["--cacert", str(certificate)] if certificate else []
    comparisons = {"upload": Comparison(), "download": Comparison()}
    with server(source, certificate) as address:
        curl_arguments = {
            "upload": ["-o", os.devnull, "-F", "key=k", "-F", "policy=p", "-F", f"file=@{source}", f"{address}/"],
            "download": ["-o", str(landed), f"{address}/file"],
        }
        for _ in range(rounds):
            for kind, comparison in comparisons.items():
                file = landed if kind == "download" else source
                with our_process(kind, address, file) as transfer:
                    comparison.memory = max(comparison.memory, *(transfer()["memory"] for _ in range(_WARM_UP)))
                    for _ in range(_PAIRS):
                        landed.unlink(missing_ok=True)
                        comparison.curl.append(curl([*trust, *curl_arguments[kind]]))
                        landed.unlink(missing_ok=True)
                        comparison.ours.append(transfer())
                        if file.stat().st_size != size:
                            raise SystemExit("the downloaded file is incomplete")
        landed.unlink()
        small = min(size, 256 * _MIB)
        os.truncate(source, small)
        with our_process("files", address, source) as transfer:
            held = transfer()["memory"]
    report(
        [
            *rows(comparisons, size),
            Row(figure=f"requests with files=, {small // _MIB} MiB: MiB over idle", ours=held / _MIB),
        ]
    )


def rows(comparisons: dict[str, Comparison], size: int) -> Iterator[Row]:
    """Compare ours with curl's. Memory is ours over idle, and all of curl's process."""
    for kind, least, most in (("upload", 1.2, 0.8), ("download", 0.9, None)):
        comparison = comparisons[kind]
        ours, curls = (
            {key: statistics.median(each[key] for each in figures) for key in ("seconds", "cpu", "memory")}
            for figures in (comparison.ours, comparison.curl)
        )
        speed, cpu = 1 / comparison.ratio("seconds"), comparison.ratio("cpu")
        yield Row(
            figure=f"{kind}, MiB/s",
            ours=size / _MIB / ours["seconds"],
            theirs={"curl": size / _MIB / curls["seconds"]},
            ratio=speed,
            goal=f"{least:g} of curl's or more",
            met=speed >= least,
        )
        yield Row(
            figure=f"{kind}, CPU s",
            ours=ours["cpu"],
            theirs={"curl": curls["cpu"]},
            ratio=cpu,
            goal=f"{most:g} of curl's or less" if most else None,
            met=not most or cpu <= most,
        )
        memory = comparison.memory / _MIB
        yield Row(
            figure=f"{kind}, MiB over idle",
            ours=memory,
            theirs={"curl, whole": curls["memory"] / _MIB},
            goal="at most 8",
            met=memory <= 8,
        )


def self_signed(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1, with its key."""
    both, key = folder / "server.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(both)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(both.read_text() + key.read_text())
    return both


def size_of(text: str) -> int:
    match = re.fullmatch(r"(\d+) ?(MiB|GiB)", text)
    if not match:
        raise argparse.ArgumentTypeError("write it like 1GiB or 256MiB")
    return int(match[1]) * (_MIB if match[2] == "MiB" else 1024 * _MIB)


def folder_for(size: int) -> str | None:
    """Return a directory in memory if there is room, so that the disk is not measured."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * size else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Upload and download beside curl.")
    parser.add_argument("--size", type=size_of, default=size_of("1GiB"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tls", action="store_true", help="over HTTPS, as real storage is")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--certificate", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.certificate)
    elif options.child:
        transfer_on_request(*options.child)
    else:
        if not shutil.which("curl"):
            raise SystemExit("This needs curl to compare with.")
        import requests

        import airflow_provider_mosaic

        curl_version = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.split()[
            1
        ]
        place = folder_for(options.size)
        print(
            f"airflow-provider-mosaic {airflow_provider_mosaic.__version__}, Python {platform.python_version()}, "
            f"requests {requests.__version__}, urllib3 {version('urllib3')}, curl {curl_version}, "
            f"{os.cpu_count()} cores"
        )
        print(
            f"{options.size // _MIB} MiB over {'HTTPS' if options.tls else 'HTTP'} on loopback, "
            f"downloads {'into memory' if place else 'onto disk'}, "
            f"medians of {options.rounds * _PAIRS} pairs in {options.rounds} processes"
        )
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=place) as landing:
            measure(options.size, options.rounds, Path(folder), Path(landing) / "landed.mp4", tls=options.tls)


if __name__ == "__main__":
    main()
