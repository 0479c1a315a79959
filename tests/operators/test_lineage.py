"""The datasets that tasks report to Airflow's hook lineage. Reporting never fails a task."""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.lineage import hook
from airflow.providers.common.compat.openlineage import facet
from airflow.sdk import Asset
from mosaic_emulator import Emulator
from tasks.fakes import TaskRunner
from tasks.fixtures import AGENT
from tasks.task_runs import post_task, rendered, run_task

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicDownloadOutputsOperator,
    MosaicResumeRunOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.tasks import reporting

#: Where Airflow has its collector and its reader: since 3.2, and before.
LINEAGE = "airflow.sdk.lineage" if find_spec("airflow.sdk.lineage") else "airflow.lineage.hook"
TRANSFORMER = "a0000000-0000-4000-8000-000000000001"


class Collected:
    """Airflow's collector of hook lineage, as it is in a process with a reader."""

    def __init__(self, mosaic: Emulator) -> None:
        self._host = mosaic.url.removeprefix("http://")
        self.reset()

    def reset(self) -> None:
        # Not get_hook_lineage_collector(): in a process without a reader it returns a collector that drops everything.
        self.collector: Any = import_module(LINEAGE).HookLineageCollector()

    def uris(self, *names: str) -> set[str]:
        """Return the URIs of items in Mosaic."""
        return {f"mosaic://{self._host}/{name}" for name in names}

    def take(self) -> tuple[set[str], set[str]]:
        """Return the URIs of the inputs and the outputs, and forget them."""
        found = self.collector.collected_assets
        self.reset()
        inputs, outputs = ({each.asset.uri for each in datasets} for datasets in (found.inputs, found.outputs))
        return inputs, outputs


@pytest.fixture
def collected(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> Collected:
    """Collect what the tasks of this test report."""
    collected = Collected(mosaic)
    monkeypatch.setattr(reporting, "has_lineage_readers", lambda: True)
    monkeypatch.setattr(hook, "get_hook_lineage_collector", lambda: collected.collector)
    return collected


def test_upload(collected: Collected, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0" * 1000)
    asset_id = TaskRunner(lambda: MosaicUploadOperator(task_id="upload", source=str(film))).execute()
    assert collected.take() == ({film.as_uri()}, collected.uris(f"assets/{asset_id}"))


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_run(collected: Collected, mosaic: Emulator, deferrable: bool) -> None:
    task = run_task(deferrable=deferrable)
    task.run_to_end()
    [run] = mosaic.runs()
    outputs = collected.uris(*(f"outputs/{each}" for each in run["output_ids"]))
    assert outputs
    assert collected.take() == (collected.uris(f"agents/{AGENT}"), outputs)


@pytest.mark.parametrize("in_tiles", [False, True])
@pytest.mark.parametrize("wait_for_completion", [False, True])
def test_inputs_of_a_run(
    collected: Collected, mosaic: Emulator, hook: MosaicHook, tmp_path: Path, in_tiles: bool, wait_for_completion: bool
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0" * 1000)
    asset_id = hook.upload_asset(film)
    _, [output_id, *_] = rendered(mosaic, hook)
    sources = {"video_ids": [asset_id], "node_render_ids": [output_id]}
    nodes = hook.get_agent(TRANSFORMER).agent_nodes
    [tile] = [node.agent_node_id for node in nodes if node.node_type.node_type_name == "Video Input"]
    inputs = {"video_inputs": [{"agent_node_id": tile, **sources}]} if in_tiles else sources
    run_task(agent_id=TRANSFORMER, wait_for_completion=wait_for_completion, **inputs).execute()
    found, outputs = collected.take()
    assert found == collected.uris(f"agents/{TRANSFORMER}", f"assets/{asset_id}", f"outputs/{output_id}")
    assert bool(outputs) is wait_for_completion


def test_resumed_run(collected: Collected, mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    TaskRunner(lambda: MosaicResumeRunOperator(task_id="resume", run_id=run_id)).execute()
    outputs = collected.uris(*(f"outputs/{each}" for each in output_ids))
    assert collected.take() == (collected.uris(f"agents/{AGENT}"), outputs)


def test_download(collected: Collected, mosaic: Emulator, hook: MosaicHook, tmp_path: Path) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    download = MosaicDownloadOutputsOperator
    files = TaskRunner(lambda: download(task_id="download", run_id=run_id, destination=str(tmp_path))).execute()
    inputs = collected.uris(*(f"outputs/{each}" for each in output_ids))
    assert collected.take() == (inputs, {Path(file).as_uri() for file in files})


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("wait_for_completion", [False, True])
def test_post(collected: Collected, mosaic: Emulator, hook: MosaicHook, named: bool, wait_for_completion: bool) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    shown = output_ids[:1] if named else output_ids
    task = post_task(
        run_id=run_id, output_ids=shown if named else None, wait_for_completion=wait_for_completion, deferrable=True
    )
    mosaic.configure(hold_posts=True)
    result = task.execute()
    mosaic.configure(hold_posts=False)
    post_id = task.resume(result, result.wait()) if wait_for_completion else result
    inputs = collected.uris(*(f"outputs/{each}" for each in shown))
    assert collected.take() == (inputs, collected.uris(f"posts/{post_id}"))


def test_agent(collected: Collected) -> None:
    definition = {"name": "Nightly", "nodes": {"film": {"tile": "Video Generation"}}}
    agent_id = TaskRunner(lambda: MosaicApplyAgentOperator(task_id="agent", definition=definition)).execute()
    assert collected.take() == (set(), collected.uris(f"agents/{agent_id}"))


def _providers_manager() -> Any:
    try:
        module: Any = import_module("airflow.sdk.providers_manager_runtime")
    except ImportError:  # Airflow 3.1
        return import_module("airflow.providers_manager").ProvidersManager()
    return module.ProvidersManagerTaskRuntime()


def test_uri_is_a_dataset_of_openlineage(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow's stand-in returns None without OpenLineage.
    monkeypatch.setattr(facet, "Dataset", SimpleNamespace)
    asset = Asset("mosaic://api.mosaic.so/outputs/an%2Fid")
    # Without a handler for its scheme, OpenLineage ignores a URI.
    assert asset.normalized_uri == asset.uri
    convert = _providers_manager().asset_to_openlineage_converters["mosaic"]
    dataset = convert(asset, MosaicHook())
    assert (dataset.namespace, dataset.name) == ("mosaic://api.mosaic.so", "outputs/an%2Fid")


_REPORT = f"""
import sys
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks.reporting import report_lineage
before = set(sys.modules)
outputs = ["s3://bucket/out.mp4", "relative/out.mp4", "mosaic://api.mosaic.so/outputs/id"]
report_lineage(MosaicHook(), inputs=["/films/in.mp4"], outputs=outputs)
print(any(name.startswith("airflow.providers.amazon") for name in set(sys.modules) - before))
from {LINEAGE} import HookLineageReader
found = HookLineageReader().retrieve_hook_lineage()
print([each.asset.uri for each in found.inputs], [each.asset.uri for each in found.outputs])
"""
_PLUGIN = f"""
from airflow.plugins_manager import AirflowPlugin
from {LINEAGE} import HookLineageReader
class Lineage(AirflowPlugin):
    name = "lineage"
    hook_lineage_readers = [HookLineageReader]
"""


@pytest.mark.parametrize("has_reader", [False, True])
def test_reader_gets_the_datasets(tmp_path: Path, has_reader: bool) -> None:
    """In a process of its own: Airflow decides once whether there is a reader."""
    (tmp_path / "plugins").mkdir()
    if has_reader:
        (tmp_path / "plugins" / "lineage.py").write_text(_PLUGIN)
    done = subprocess.run(
        [sys.executable, "-c", _REPORT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    outputs = ["s3://bucket/out.mp4", f"file://{tmp_path}/relative/out.mp4", "mosaic://api.mosaic.so/outputs/id"]
    *_, loaded, found = done.stdout.splitlines()
    # The import of the storage providers takes half a second.
    assert has_reader or loaded == "False"
    assert found == (f"['file:///films/in.mp4'] {outputs}" if has_reader else "[] []")


def test_lineage_that_cannot_be_reported_fails_no_task(
    mosaic: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("no lineage")

    monkeypatch.setattr(reporting, "has_lineage_readers", broken)
    caplog.set_level(logging.WARNING)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"0" * 1000)
    assert TaskRunner(lambda: MosaicUploadOperator(task_id="upload", source=str(film))).execute()
    assert "were not reported to hook lineage (RuntimeError: no lineage)" in caplog.text
