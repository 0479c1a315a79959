"""Object storage as Airflow sees it: a bucket of a real S3 server (moto's), and memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

BUCKET = "recordings"
CONNECTION = "test_s3"


@pytest.fixture(scope="session", name="s3_server")
def running_s3_server() -> Iterator[str]:
    """Start moto's S3 server, and return its URL."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(name="s3_client")
def client_of_s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return boto3's client, to check the bucket without fsspec."""
    import boto3

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client(
        "s3", endpoint_url=s3_server, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


@pytest.fixture(name="s3")
def bucket_in_s3(s3_client: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the bucket as an ObjectStoragePath with a connection."""
    from airflow.sdk import ObjectStoragePath

    connection = {
        "conn_type": "aws",
        "login": "k",
        "password": "s",
        "extra": {"endpoint_url": s3_server, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_TEST_S3", json.dumps(connection))
    return ObjectStoragePath(f"s3://{BUCKET}", conn_id=CONNECTION)


class FrontOfS3(ThreadingHTTPServer):
    """A server in front of the S3 server. It denies methods, and loses the response to the end of an upload."""

    daemon_threads = True

    def __init__(self, s3_server: str) -> None:
        super().__init__(("127.0.0.1", 0), _FrontHandler)
        self.s3_host = urlsplit(s3_server).netloc
        self.denied: frozenset[str] = frozenset()
        #: What happens to the first request that completes an upload: "" nothing, "done" or "dropped".
        self.loses_end = ""
        self.ends = 0


class _FrontHandler(BaseHTTPRequestHandler):
    server: FrontOfS3
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        front = self.server
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command in front.denied:
            self._send(403, {}, b"")
            return
        if front.loses_end and self.command == "POST" and "uploadId=" in self.path:
            front.ends += 1
            if front.ends > 1:
                self._send(404, {}, b"<Error><Code>NoSuchUpload</Code><Message>no such upload</Message></Error>")
                return
            if front.loses_end == "done":
                self._forward(body)
            self.close_connection = True
            return
        self._send(*self._forward(body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        s3 = HTTPConnection(self.server.s3_host, timeout=10)
        s3.request(self.command, self.path, body, dict(self.headers))
        response = s3.getresponse()
        content = response.read()
        s3.close()
        return response.status, dict(response.getheaders()), content

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        hop = {"transfer-encoding", "connection", "content-length"}
        for name, value in headers.items():
            if name.lower() not in hop:
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session", name="running_front")
def server_in_front_of_s3(s3_server: str) -> Iterator[FrontOfS3]:
    """Start the server once: Airflow keeps the file system of a connection, with its URL."""
    server = FrontOfS3(s3_server)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="front")
def connected_front(running_front: FrontOfS3, s3: Any, monkeypatch: pytest.MonkeyPatch) -> FrontOfS3:
    """Return the server in front of S3, without faults, and let a second connection lead to it."""
    running_front.denied, running_front.loses_end, running_front.ends = frozenset(), "", 0
    connection = {
        "conn_type": "aws",
        "login": "k",
        "password": "s",
        "extra": {"endpoint_url": f"http://127.0.0.1:{running_front.server_port}", "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_FRONT_OF_S3", json.dumps(connection))
    return running_front


@pytest.fixture(name="s3_behind_front")
def bucket_behind_front(front: FrontOfS3) -> Any:
    """Return the bucket as an ObjectStoragePath whose requests go through the server in front."""
    from airflow.sdk import ObjectStoragePath

    return ObjectStoragePath(f"s3://{BUCKET}", conn_id="front_of_s3")


@pytest.fixture(name="memory")
def folder_in_memory() -> Iterator[Any]:
    """Return a directory in memory. Airflow needs that storage attached."""
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    attach("memory", fs=MemoryFileSystem())
    folder = ObjectStoragePath("memory://folder")
    folder.mkdir(exist_ok=True)
    yield folder
    folder.fs.rm(folder.path, recursive=True)
