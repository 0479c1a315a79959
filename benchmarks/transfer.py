"""
Upload and download beside curl: the same file, the same server, in turns, in one run.

    python benchmarks/transfer.py [--size 1GiB] [--rounds 5] [--tls]

The server is a process of its own that reads into one buffer and forgets, and sends by sendfile. Ours is measured in a
child process around the transfer alone: a task's process has Python and our modules loaded before. Memory is the peak
of the resident set over what it was just before. Medians over the rounds; nothing here passes or fails.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from goals import Row, report

_BLOCK = 256 * 1024
_MIB = 1024 * 1024


# --- the server ---


def serve(file: str, certificate: str | None) -> None:
    """Serve one connection after the other on a free port, which is printed."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    buffer = memoryview(bytearray(_BLOCK))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            # A client that goes away ends its own connection, not the server.
            with suppress(OSError), connection:
                if context:
                    with context.wrap_socket(connection, server_side=True) as secured:
                        answer(secured, file, buffer)
                        secured.unwrap()
                else:
                    answer(connection, file, buffer)


def answer(connection: socket.socket, file: str, buffer: memoryview) -> None:
    """Take a form and forget it, or send the file."""
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
    # Waiting in recv, the server would be woken for each segment, at the cost of the sender, and at random.
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
    """The server in a process of its own; gives its address."""
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
    """Bytes from /proc/.../status; none of a process that has ended."""
    match = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(match[1]) * 1024 if match else 0


def ours(kind: str, address: str, file: str) -> None:
    """One transfer in this process; prints what it took."""
    import requests

    from airflow_provider_mosaic.api.endpoints.assets import UploadForm
    from airflow_provider_mosaic.api.link_policy import LinkPolicy
    from airflow_provider_mosaic.clients.download import fetch, local_target
    from airflow_provider_mosaic.clients.sources import local_source
    from airflow_provider_mosaic.clients.upload import send_form

    form = UploadForm(asset_id="a", upload_url=f"{address}/", upload_fields={"key": "k", "policy": "p"})

    def transfer() -> None:
        if kind == "upload":
            send_form(form, local_source(file), "video/mp4", policy=LinkPolicy(loopback=True))
        elif kind == "download":
            fetch(lambda: f"{address}/file", local_target(file), policy=LinkPolicy(loopback=True))
        else:
            with Path(file).open("rb") as stream:
                requests.post(form.upload_url, data=form.upload_fields, files={"file": stream}).raise_for_status()

    # What the first request of a process loads is there before the second one.
    Path("/proc/self/clear_refs").write_text("5")
    before, began, used = status("VmRSS"), time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    transfer()
    took, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(json.dumps({"seconds": took, "cpu": cpu, "memory": status("VmHWM") - before}))


def run(command: list[str]) -> dict[str, float]:
    """A program's time, CPU and peak memory."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak = ended = code = 0
    while not ended:
        # ru_maxrss of a child counts what its parent had before the exec, so the peak is looked at while it runs.
        peak = max(peak, status("VmHWM", process.pid))
        ended, code, used = os.wait4(process.pid, os.WNOHANG)
        time.sleep(0 if ended else 0.002)
    process.returncode = os.waitstatus_to_exitcode(code)
    took = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    assert process.stdout
    with process.stdout as stream:
        output = stream.read()
    if output.startswith(b"{"):
        return dict(json.loads(output))
    return {"seconds": took, "cpu": used.ru_utime + used.ru_stime, "memory": peak}


def child(kind: str, address: str, file: Path) -> dict[str, float]:
    return run([sys.executable, __file__, "--child", kind, address, str(file)])


# --- the table ---


def measure(size: int, rounds: int, folder: Path, landed: Path, *, tls: bool) -> None:
    source = folder / "source.mp4"
    block = os.urandom(16 * _MIB)
    with source.open("wb") as stream:
        for start in range(0, size, len(block)):
            stream.write(block[: size - start])
    certificate = self_signed(folder) if tls else None
    if certificate:
        os.environ["REQUESTS_CA_BUNDLE"] = str(certificate)
    seen: dict[tuple[str, str], list[dict[str, float]]] = {}
    trust = ["--cacert", str(certificate)] if certificate else []
    with server(source, certificate) as address:
        curl = ["curl", "-sS", "--fail", "--http1.1", *trust, "-o"]
        for turn in range(rounds + 1):
            for kind, arguments in (
                ("upload", [os.devnull, "-F", "key=k", "-F", "policy=p", "-F", f"file=@{source}", f"{address}/"]),
                ("download", [str(landed), f"{address}/file"]),
            ):
                theirs = run([*curl, *arguments])
                landed.unlink(missing_ok=True)
                our = child(kind, address, landed if kind == "download" else source)
                if kind == "download" and landed.stat().st_size != size:
                    raise SystemExit("the downloaded file is not whole")
                landed.unlink(missing_ok=True)
                # The first turn warms the page cache.
                if turn:
                    seen.setdefault((kind, "curl"), []).append(theirs)
                    seen.setdefault((kind, "ours"), []).append(our)
        small = min(size, 256 * _MIB)
        os.truncate(source, small)
        held = child("files", address, source)["memory"]
    report(
        [*rows(seen, size), Row(figure=f"requests with files=, {small // _MIB} MiB: MiB over idle", ours=held / _MIB)]
    )


def rows(seen: dict[tuple[str, str], list[dict[str, float]]], size: int) -> Iterator[Row]:
    """Ours beside curl's. A transfer's memory is over idle; curl's is its whole process."""
    for kind, least, most in (("upload", 1.2, 0.8), ("download", 0.9, None)):
        ours, curl = (
            {key: statistics.median(one[key] for one in seen[kind, who]) for key in ("seconds", "cpu", "memory")}
            for who in ("ours", "curl")
        )
        yield Row(
            figure=f"{kind}, MiB/s",
            ours=size / _MIB / ours["seconds"],
            theirs={"curl": size / _MIB / curl["seconds"]},
            goal=f"{least:g} of curl's or more",
            met=curl["seconds"] / ours["seconds"] >= least,
        )
        yield Row(
            figure=f"{kind}, CPU s",
            ours=ours["cpu"],
            theirs={"curl": curl["cpu"]},
            goal=f"{most:g} of curl's or less" if most else None,
            met=not most or ours["cpu"] / curl["cpu"] <= most,
        )
        memory = ours["memory"] / _MIB
        yield Row(
            figure=f"{kind}, MiB over idle",
            ours=memory,
            theirs={"curl, whole": curl["memory"] / _MIB},
            goal="at most 8",
            met=memory <= 8,
        )


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1, with its key, for this run."""
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
    """Memory where there is room for it: the disk is not what is measured, and what is read stays in the cache."""
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
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.certificate)
    elif asked.child:
        ours(*asked.child)
    else:
        if not shutil.which("curl"):
            raise SystemExit("This needs curl to compare with.")
        import requests

        import airflow_provider_mosaic

        curl = subprocess.run(["curl", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
        place = folder_for(asked.size)
        print(
            f"airflow-provider-mosaic {airflow_provider_mosaic.__version__}, Python {platform.python_version()}, "
            f"requests {requests.__version__}, urllib3 {version('urllib3')}, curl {curl}, {os.cpu_count()} cores"
        )
        print(
            f"{asked.size // _MIB} MiB over {'HTTPS' if asked.tls else 'HTTP'} on loopback, "
            f"downloads {'into memory' if place else 'onto disk'}, medians of {asked.rounds} rounds"
        )
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory(dir=place) as landing:
            measure(asked.size, asked.rounds, Path(folder), Path(landing) / "landed.mp4", tls=asked.tls)


if __name__ == "__main__":
    main()
