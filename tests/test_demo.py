"""The command ``mosaic-emulator demo``, without Airflow's processes."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from mosaic_emulator import __main__, demo
from mosaic_emulator.demo import command

from dev import recordings

ROOT = Path(__file__).parent.parent


def test_the_demo_runs_the_example_dag() -> None:
    [dag] = (Path(str(demo.__file__)).parent / "dags").glob("*.py")
    assert dag.read_text(encoding="utf-8") == (ROOT / "example_dags" / dag.name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["apache-airflow-core", "airflow-provider-mosaic"])
def test_a_missing_distribution_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(distribution: str) -> str:
        if distribution == name:
            raise PackageNotFoundError(name)
        return "3.3.2"

    monkeypatch.setattr(command, "version", version)
    assert __main__.main(["demo"]) == 1
    assert capsys.readouterr().err == (
        f"The demo needs {name} in the same environment. Install it: pip install 'airflow-provider-mosaic[emulator]'\n"
    )


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert __main__.main(["demo", "--directory", str(tmp_path / "file")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("The demo could not create its folder")
    assert str(tmp_path / "file") in printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_demo_names_its_folder(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_run", lambda *_, **__: signal.raise_signal(number))
    before = signal.getsignal(number)
    assert __main__.main(["demo", "--directory", str(tmp_path)]) == 130
    [folder] = tmp_path.iterdir()
    assert capsys.readouterr().err.endswith(f"All files are in {folder}.\n")
    assert signal.getsignal(number) is before


class FailingAirflow:
    """An Airflow that does not start. The user presses Ctrl-C while its processes are stopped."""

    stopped = False

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def start(self) -> None:
        raise RuntimeError("Airflow is not healthy")

    def stop(self) -> None:
        signal.raise_signal(signal.SIGINT)
        FailingAirflow.stopped = True


def test_a_signal_does_not_interrupt_the_stop_of_an_airflow_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "AirflowInstance", FailingAirflow)
    monkeypatch.setattr(command, "Emulator", lambda **_: nullcontext(MagicMock()))
    monkeypatch.setattr(command.recordings, "create_all", lambda folder: [])
    assert __main__.main(["demo", "--directory", str(tmp_path)]) == 1
    assert FailingAirflow.stopped
    assert "The demo failed: Airflow is not healthy" in capsys.readouterr().err


def test_the_demo_does_not_wait_if_standard_input_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, object] = {}
    monkeypatch.setattr(command, "main", lambda **given: options.update(given) or 0)
    monkeypatch.setattr(sys, "stdin", None)
    assert __main__.main(["demo"]) == 0
    assert options["keep"] is False


@pytest.mark.parametrize(("arguments", "keep"), [(["--keep"], True), (["--no-keep"], False), ([], False)])
def test_the_demo_keeps_running_without_a_terminal_only_if_told(
    arguments: list[str], keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, object] = {}
    monkeypatch.setattr(command, "main", lambda **given: options.update(given) or 0)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert __main__.main(["demo", *arguments]) == 0
    assert options["keep"] is keep


def test_a_demo_without_a_terminal_keeps_running_until_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def stop() -> None:
        raise command.StopRequested

    monkeypatch.setattr(signal, "pause", stop)
    command._wait_for_enter()
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    monkeypatch.delattr(signal, "pause")
    command._wait_for_enter()


def test_the_emulator_starts_without_loading_the_demo() -> None:
    code = "import mosaic_emulator.__main__, mosaic_emulator.server, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"mosaic_emulator.demo", "mosaic_emulator.local_airflow"}.isdisjoint(loaded)


def test_a_sample_is_a_video_with_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "talk.mp4"
    assert __main__.main(["sample", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    video = recordings.inspect(path)
    assert (video.width, video.height, video.has_sound) == (1280, 720, True)


def test_a_sample_without_ffmpeg_is_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic_emulator.demo.recordings.find_ffmpeg", lambda: None)
    assert __main__.main(["sample", str(tmp_path / "talk.mp4")]) == 0
    assert recordings.inspect(tmp_path / "talk.mp4").seconds > 0


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing" / "talk.mp4"
    assert __main__.main(["sample", str(path)]) == 1
    assert str(path) in capsys.readouterr().err
