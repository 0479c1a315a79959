"""Object storage as Airflow sees it: a bucket of a real S3 server (moto's), and memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

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
