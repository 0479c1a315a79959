"""Uploads and downloads: existing bytes are not transferred again, and no partial file remains."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from mosaic_emulator import Emulator
from mosaic_emulator.media import SAMPLE_VIDEO
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, Clock, effects, sent, until

from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicNotFoundError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicRunFailedError,
    MosaicServerError,
    MosaicTransportError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.media_types import AssetType
from airflow_provider_mosaic.clients import upload as assets
from airflow_provider_mosaic.clients.signed_url_reader import SignedUrlReader
from airflow_provider_mosaic.clients.sources import Source
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicDownloadOutputsOperator, MosaicUploadOperator
from airflow_provider_mosaic.tasks import downloads as download_task

FINALIZE = "/uploads/{asset_type}/finalize_upload"
UPLOAD_FORM = "/uploads/{asset_type}/get_upload_url"
FORM = "/mosaic-emulator-uploads/"
MEDIA = "/mosaic-emulator-media/{name}"


@pytest.fixture(autouse=True)
def _no_pauses(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "time", clock)
    for function in (assets.finalize, SignedUrlReader.__init__):
        monkeypatch.setitem(function.__kwdefaults__, "sleep", clock.sleep)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(SAMPLE_VIDEO.read_bytes())
    return path


def uploads(source: Any, store: StateStore | None = None, **options: Any) -> TaskRunner:
    return TaskRunner(lambda: MosaicUploadOperator(task_id="upload", source=source, **options), store=store)


def failure_of(act: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        act()
    assert type(failure.value.error) is kind
    assert str(failure.value).startswith(f"{kind.__name__}: ")
    return str(failure.value)


def upload_count(mosaic: Emulator) -> int:
    return sum(count for request, count in mosaic.counts().requests.items() if "get_upload_url" in request)


# Uploads


@pytest.mark.parametrize("how", ["text", "path", "uri", "object storage"])
def test_file_is_uploaded_once(mosaic: Emulator, video: Path, how: str) -> None:
    source: Any = {
        "text": str(video),
        "path": video,
        "uri": video.as_uri(),
        "object storage": ObjectStoragePath(video.as_uri()),
    }[how]
    asset_id = uploads(source, StateStore()).execute()
    [upload] = mosaic.uploads()
    assert (upload["id"], upload["finalized"], upload["size"]) == (asset_id, True, video.stat().st_size)
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}
    assert mosaic.counts().key_leaks == 0


@pytest.mark.parametrize(
    ("name", "asset_type", "expected"),
    [("a.mp3", None, "audio"), ("a.png", None, "image"), ("a.MOV", None, "video"), ("a.mp4", "video", "video")],
)
def test_suffix_decides_the_type(
    mosaic: Emulator, tmp_path: Path, name: str, asset_type: str | None, expected: str
) -> None:
    path = tmp_path / name
    path.write_bytes(b"some bytes")
    uploads(str(path), asset_type=asset_type).execute()
    assert mosaic.uploads()[0]["type"] == expected


def test_retry_after_a_failed_finalize_does_not_send_the_bytes_again(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("server_error", method="POST", path=FINALIZE, times=6, status=500)
    task = uploads(str(video), StateStore())
    with pytest.raises(MosaicServerError):
        task.execute()
    asset_id = task.execute()
    assert asset_id == mosaic.uploads()[0]["id"]
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}
    assert upload_count(mosaic) == 1


def test_retry_uploads_again_if_finalize_still_fails(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("server_error", method="POST", path=FINALIZE, times=12, status=500)
    task = uploads(str(video), StateStore())
    with pytest.raises(MosaicServerError):
        task.execute()
    asset_id = task.execute()
    first, second = mosaic.uploads()
    assert (first["finalized"], second["finalized"], second["id"]) == (False, True, asset_id)
    assert task.execute() == asset_id


def test_retry_does_not_upload_again_for_a_busy_server(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("server_error", method="POST", path=FINALIZE, times=12, status=503, retry_after=1)
    task = uploads(str(video), StateStore())
    for _ in range(2):
        with pytest.raises(MosaicServerError):
            task.execute()
    assert task.execute() == mosaic.uploads()[0]["id"]
    assert upload_count(mosaic) == 1


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("server_error", {"status": 500, "times": 2}),
        ("server_error", {"status": 502, "body": "html", "times": 2}),
        ("rate_limit", {"times": 2, "retry_after": 1}),
        ("response_lost", {}),
        ("reset", {"when": "after"}),
        ("finalize_lag", {"times": 4}),
        ("truncated_json", {}),
    ],
    ids=lambda value: str(value),
)
def test_failed_finalize_is_retried(mosaic: Emulator, video: Path, fault: str, options: dict[str, Any]) -> None:
    mosaic.inject(fault, method="POST", path=FINALIZE, **options)
    uploads(str(video), StateStore()).execute()
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}


def test_delayed_storage_fails_without_retries_and_shows_the_response(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("finalize_lag", method="POST", path=FINALIZE, times=None)
    failure_of(uploads(str(video), StateStore()).execute, MosaicValidationError)
    assert effects(mosaic) == {"uploads_stored": 1}


def test_rejected_finalize_after_a_lost_response_is_read_again(mosaic: Emulator, video: Path) -> None:
    # Another reading of the API: a registered asset is not found among the unfinished uploads.
    mosaic.inject("response_lost", method="POST", path=FINALIZE)
    mosaic.inject("not_found", method="POST", path=FINALIZE)
    asset_id = uploads(str(video), StateStore()).execute()
    assert asset_id == mosaic.uploads()[0]["id"]
    assert sent(mosaic, "POST /uploads/get_view_url") == 1
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}


def test_retry_checks_what_an_earlier_attempt_may_have_finalized(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("response_lost", method="POST", path=FINALIZE, times=6)
    task = uploads(str(video), StateStore())
    with pytest.raises(MosaicTransportError):
        task.execute()
    mosaic.inject("not_found", method="POST", path=FINALIZE)
    before = sent(mosaic, f"POST {FINALIZE}")
    assert task.execute() == mosaic.uploads()[0]["id"]
    assert sent(mosaic, f"POST {FINALIZE}") == before + 1
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}


def test_finalize_of_missing_bytes_fails(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("not_found", method="POST", path=FINALIZE, times=9)
    mosaic.inject("not_found", method="POST", path="/uploads/get_view_url", times=9)
    failure_of(uploads(str(video), StateStore()).execute, MosaicNotFoundError)


def test_delayed_bytes_are_waited_for(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("not_found", method="POST", path=FINALIZE, times=3)
    mosaic.inject("not_found", method="POST", path="/uploads/get_view_url", times=3)
    asset_id = uploads(str(video), StateStore()).execute()
    assert [(upload["id"], upload["finalized"]) for upload in mosaic.uploads()] == [(asset_id, True)]


def test_upload_that_the_server_has_forgotten_is_repeated(mosaic: Emulator, video: Path) -> None:
    task = uploads(str(video), StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("not_found", method="POST", path=FINALIZE, times=6)
    mosaic.inject("not_found", method="POST", path="/uploads/get_view_url", times=6)
    asset_id = task.execute()
    first, second = mosaic.uploads()
    assert (first["finalized"], second["finalized"], second["id"]) == (False, True, asset_id)


def sign_links_without_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "_can_be_viewed", lambda client, kind, asset_id: True)


def test_link_is_no_proof_if_the_earlier_attempt_died_before_it_finalized(
    mosaic: Emulator, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_links_without_assets(monkeypatch)
    task = uploads(str(video), StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("not_found", method="POST", path=FINALIZE, times=6)
    asset_id = task.execute()
    first, second = mosaic.uploads()
    assert (first["finalized"], second["finalized"], second["id"]) == (False, True, asset_id)


def test_link_is_no_proof_if_no_earlier_finalize_had_an_effect(
    mosaic: Emulator, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_links_without_assets(monkeypatch)
    mosaic.inject("rate_limit", method="POST", path=FINALIZE, times=6, retry_after=1)
    task = uploads(str(video), StateStore())
    with pytest.raises(MosaicRateLimitError):
        task.execute()
    mosaic.inject("not_found", method="POST", path=FINALIZE, times=6)
    asset_id = task.execute()
    first, second = mosaic.uploads()
    assert (first["finalized"], second["finalized"], second["id"]) == (False, True, asset_id)


def test_conflict_of_a_finalize_that_was_not_saved_lets_the_retry_upload_again(mosaic: Emulator, video: Path) -> None:
    task = uploads(str(video), StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("server_error", method="POST", path=FINALIZE, status=409)
    asset_id = task.execute()
    assert [(each["finalized"], each["id"] == asset_id) for each in mosaic.uploads()] == [(False, False), (True, True)]


@pytest.mark.parametrize("then", ["rate limit", "kill"])
def test_retry_remembers_that_a_finalize_may_have_had_an_effect(
    mosaic: Emulator, video: Path, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    task = uploads(str(video), StateStore())
    if then == "rate limit":
        mosaic.inject("response_lost", method="POST", path=FINALIZE)
        mosaic.inject("rate_limit", method="POST", path=FINALIZE, times=5, retry_after=1)
        with pytest.raises(MosaicRateLimitError):
            task.execute()
    else:
        with monkeypatch.context() as patch:
            patch.setattr(assets, "_wait_until_shown", raise_killed)
            with pytest.raises(Killed):
                task.execute()
    mosaic.inject("not_found", method="POST", path=FINALIZE)
    assert task.execute() == mosaic.uploads()[0]["id"]
    assert effects(mosaic) == {"uploads_stored": 1, "uploads_finalized": 1}


def raise_killed(*_: Any) -> None:
    raise Killed


def test_retry_after_a_complete_upload_sends_nothing(mosaic: Emulator, video: Path) -> None:
    task = uploads(str(video), StateStore())
    first = task.execute()
    requests = len(mosaic.requests())
    assert task.execute() == first
    assert len(mosaic.requests()) == requests


def test_file_that_changed_between_attempts_is_uploaded_again(
    mosaic: Emulator, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = uploads(str(video), StateStore())
    first = task.execute()
    video.write_bytes(video.read_bytes()[::-1])
    os.utime(video, ns=(1, 1))
    with caplog.at_level(logging.INFO):
        assert task.execute() != first
    assert "arguments of the task changed since its earlier attempt" in caplog.text
    assert effects(mosaic) == {"uploads_stored": 2, "uploads_finalized": 2}


def test_clear_uploads_again(mosaic: Emulator, video: Path) -> None:
    task = uploads(str(video), StateStore())
    first = task.execute()
    task.clear()
    assert task.execute() != first


@pytest.mark.parametrize(
    ("fault", "options"),
    [("reset", {"after_bytes": 1000}), ("server_error", {"status": 503}), ("expired_form", {})],
    ids=lambda value: str(value),
)
def test_broken_transfer_is_restarted_with_a_new_form(
    mosaic: Emulator, video: Path, fault: str, options: dict[str, Any]
) -> None:
    mosaic.inject(fault, method="POST", path=FORM + "*", times=2, **options)
    asset_id = uploads(str(video), StateStore()).execute()
    assert upload_count(mosaic) == 3
    assert effects(mosaic)["uploads_finalized"] == 1
    assert [upload["id"] for upload in mosaic.uploads() if upload["finalized"]] == [asset_id]


def test_file_that_changes_during_the_transfer_is_not_sent_again(mosaic: Emulator, hook: MosaicHook) -> None:
    source = Source(name="a.mp4", size=9, stamp="1", open=lambda: io.BytesIO(b"x" * 10), shown="a.mp4")
    with pytest.raises(MosaicValidationError, match="changed while it was being sent"):
        assets.store(hook.client, source, AssetType.VIDEO, "video/mp4")
    assert upload_count(mosaic) == 1


@pytest.mark.parametrize("how", ["operator", "hook"])
@pytest.mark.parametrize("request_", [FINALIZE, UPLOAD_FORM])
@pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
def test_key_that_was_replaced_during_the_transfer_is_used(
    mosaic: Emulator, video: Path, monkeypatch: pytest.MonkeyPatch, how: str, request_: str, fault: str
) -> None:
    replace_key_at(monkeypatch, mosaic, assets, "send_form")
    if request_ == UPLOAD_FORM:
        mosaic.inject("server_error", method="POST", path=FORM + "*", status=503)
    mosaic.inject(fault, method="POST", path=request_, skip=int(request_ == UPLOAD_FORM))
    with closing(MosaicHook()) as hook:
        upload = hook.upload_asset if how == "hook" else lambda path: uploads(path, StateStore()).execute()
        asset_id = upload(str(video))
    assert [upload["id"] for upload in mosaic.uploads() if upload["finalized"]] == [asset_id]
    assert effects(mosaic)["uploads_stored"] == 1
    assert mosaic.counts().faults_used[fault] == 1


def replace_key_at(monkeypatch: pytest.MonkeyPatch, mosaic: Emulator, module: Any, name: str) -> None:
    """Change the connection when a function is called. The server accepts the key before and after."""
    real = getattr(module, name)

    def replaced(*args: Any, **options: Any) -> Any:
        connection = json.loads(mosaic.airflow_connection()) | {"extra": {"timeout": 61}}
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
        return real(*args, **options)

    monkeypatch.setattr(module, name, replaced)


def test_refused_finalize_is_sent_once_with_the_same_key(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("unauthorized", method="POST", path=FINALIZE, times=None)
    failure_of(uploads(str(video), StateStore()).execute, MosaicAuthenticationError)
    assert sent(mosaic, f"POST {FINALIZE}") == 1


def test_form_that_is_always_rejected_can_be_retried(mosaic: Emulator, video: Path) -> None:
    mosaic.inject("expired_form", method="POST", path=FORM + "*", times=None)
    with pytest.raises(MosaicPermissionError):
        uploads(str(video), StateStore()).execute()
    assert upload_count(mosaic) == 4


def test_no_upload_form_in_the_store(mosaic: Emulator, video: Path) -> None:
    store = StateStore()
    uploads(str(video), store).execute()
    assert store.history
    for word in ("x-goog", "policy", "signature", mosaic.api_key):
        assert word not in str(store.history).lower()


# Downloads


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    run_id = hook.run_agent(AGENT)
    until(lambda: mosaic.runs()[-1]["status"] == "completed")
    return run_id


def downloads(run_id: str, destination: Any, **options: Any) -> TaskRunner:
    arguments = {"task_id": "fetch", "run_id": run_id, "destination": destination, **options}
    return TaskRunner(lambda: MosaicDownloadOutputsOperator(**arguments))


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_outputs_are_downloaded(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    mosaic.configure(premiere_zip=True)
    [output_id] = mosaic.runs()[0]["output_ids"]
    folder = tmp_path / "new" / "folder"
    files = downloads(run_id, str(folder)).execute()
    assert [Path(file).is_absolute() for file in files] == [True] * len(files)
    assert {Path(file).name for file in files} >= {f"{output_id}.mp4", f"{output_id}.jpg"}
    assert names(folder) == sorted(Path(file).name for file in files)
    assert (folder / f"{output_id}.mp4").stat().st_size == mosaic.runs()[0]["output_sizes"][0]


def test_retry_downloads_no_existing_file(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    task = downloads(run_id, str(tmp_path), include=["video"])
    [file] = task.execute()
    before = Path(file).stat()
    # The emulator counts a file after it was sent.
    until(lambda: mosaic.counts().bytes_served >= before.st_size)
    served = mosaic.counts().bytes_served
    assert task.execute() == [file]
    assert Path(file).stat().st_mtime_ns == before.st_mtime_ns
    # One byte is read for the length.
    assert mosaic.counts().bytes_served - served <= 1


def test_one_file_needs_two_reads_of_the_run(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    before = sent(mosaic, "GET /agent_run/{run_id}")
    downloads(run_id, str(tmp_path)).execute()
    # The second one shows whether an output has come late.
    assert sent(mosaic, "GET /agent_run/{run_id}") == before + 2


def test_different_existing_file_is_an_error(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    [output_id] = mosaic.runs()[0]["output_ids"]
    existing = tmp_path / f"{output_id}.mp4"
    existing.write_bytes(b"mine")
    message = failure_of(downloads(run_id, str(tmp_path)).execute, MosaicValidationError)
    assert str(existing) in message
    assert "overwrite=True" in message
    assert existing.read_bytes() == b"mine"
    assert names(tmp_path) == [existing.name]


def test_overwrite_replaces_a_different_file(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    [output_id] = mosaic.runs()[0]["output_ids"]
    existing = tmp_path / f"{output_id}.mp4"
    existing.write_bytes(b"mine")
    downloads(run_id, str(tmp_path), overwrite=True).execute()
    assert existing.stat().st_size == mosaic.runs()[0]["output_sizes"][0]


def test_retry_with_overwrite_downloads_all_files_and_says_so(
    mosaic: Emulator, run_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Two requests for each file: its headers and its content.
    mosaic.inject("server_error", path=MEDIA, skip=2, times=6, status=503)
    task = downloads(run_id, str(tmp_path), overwrite=True)
    with pytest.raises(MosaicServerError):
        task.execute()
    assert "all files with overwrite=True" in caplog.text
    [file] = tmp_path.iterdir()
    before = file.stat().st_ino
    assert len(task.execute()) == 2
    assert file.stat().st_ino != before


@pytest.mark.parametrize(
    ("include", "suffixes"),
    [
        (["video"], {".mp4"}),
        (("thumbnail",), {".jpg"}),
        ("['video', 'thumbnail']", {".mp4", ".jpg"}),
        ("video", {".mp4"}),
    ],
)
def test_include_selects_the_parts(
    mosaic: Emulator, run_id: str, tmp_path: Path, include: Any, suffixes: set[str]
) -> None:
    downloads(run_id, str(tmp_path), include=include).execute()
    assert {Path(name).suffix for name in names(tmp_path)} == suffixes


def test_filename_template(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    downloads(run_id, str(tmp_path), filename="{run_id}/{index}-{part}{suffix}").execute()
    assert names(tmp_path) == [f"{run_id}/0-thumbnail.jpg", f"{run_id}/0-video.mp4"]


def test_template_with_duplicate_names_is_rejected(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    message = failure_of(downloads(run_id, str(tmp_path), filename="same").execute, MosaicValidationError)
    assert "filename='same'" in message


def test_read_that_is_older_than_the_end_is_repeated(
    mosaic: Emulator, run_id: str, clock: Clock, tmp_path: Path
) -> None:
    mosaic.inject("unknown_status", method="GET", path="/agent_run/{run_id}", times=2, status="running")
    assert downloads(run_id, str(tmp_path)).execute()


def test_running_run_can_be_retried(mosaic: Emulator, hook: MosaicHook, clock: Clock, tmp_path: Path) -> None:
    mosaic.configure(hold_runs=True)
    with pytest.raises(MosaicRunFailedError, match="still running"):
        downloads(hook.run_agent(AGENT), str(tmp_path)).execute()
    assert names(tmp_path) == []


def test_run_without_outputs_fails(mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    mosaic.configure(failing_nodes={"Captions": "broken"})
    run_id = hook.run_agent(AGENT)
    until(lambda: mosaic.runs()[0]["status"] == "failed")
    with pytest.raises(MosaicRunFailedError, match="no outputs"):
        downloads(run_id, str(tmp_path)).execute()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_expired_links_are_renewed(mosaic: Emulator, run_id: str, tmp_path: Path, status: int) -> None:
    mosaic.inject("expired_link", path=MEDIA, times=2, status=status)
    downloads(run_id, str(tmp_path)).execute()
    assert len(names(tmp_path)) == 2


def test_key_that_was_replaced_before_a_link_expires_is_used(
    mosaic: Emulator, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_key_at(monkeypatch, mosaic, download_task, "read_file_info")
    mosaic.inject("expired_link", path=MEDIA)
    # The first two reads are before the transfer.
    mosaic.inject("unauthorized", path="/agent_run/{run_id}", skip=2)
    downloads(run_id, str(tmp_path)).execute()
    assert len(names(tmp_path)) == 2
    assert mosaic.counts().faults_used == {"expired_link": 1, "unauthorized": 1}


def test_link_that_is_always_rejected_fails_without_retries(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    mosaic.inject("expired_link", path=MEDIA, times=None, status=410)
    message = failure_of(downloads(run_id, str(tmp_path)).execute, MosaicNotFoundError)
    assert "fresh links" in message
    assert names(tmp_path) == []


def test_broken_download_leaves_no_partial_file(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    mosaic.inject("cut_body", path=MEDIA, skip=1, times=None, fraction=0.5)
    mosaic.configure(ranges=False)
    with pytest.raises(MosaicTransportError):
        downloads(run_id, str(folder), include=["video"]).execute()
    assert names(folder) == []
    mosaic.clear_faults()
    downloads(run_id, str(folder), include=["video"]).execute()
    assert len(names(folder)) == 1


def test_object_storage_destination(mosaic: Emulator, run_id: str, tmp_path: Path) -> None:
    files = downloads(run_id, ObjectStoragePath(tmp_path.as_uri()), include=["video"]).execute()
    assert files[0].startswith("file://")
    assert len(names(tmp_path)) == 1
