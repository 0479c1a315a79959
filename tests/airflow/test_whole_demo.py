"""The demo, as a user starts it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mosaic_emulator.local_airflow.processes import living

from dev import recordings

pytestmark = pytest.mark.airflow

NAMES = ("interview", "keynote", "product-tour")


def test_two_failures_heal_and_nothing_is_left_running(tmp_path: Path) -> None:
    before = living().keys()
    command = [sys.executable, "-m", "mosaic_emulator", "demo", "--directory", str(tmp_path)]
    # Standard input is no terminal, so the demo ends by itself.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=540, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    ours = {pid for pid in living().keys() - before if _mentions(pid, tmp_path)}
    assert not ours
    [folder] = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["edited", "index.html", "recordings"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in NAMES:
        [edited] = (folder / "edited" / name).glob("*.mp4")
        assert recordings.inspect(edited).is_9_to_16
        assert str(edited) in done.stdout
        assert f"recordings/{name}.mp4" in page
        assert f"edited/{name}/{edited.name}" in page
        assert re.search(rf"{name} +posted", done.stdout)
    assert "the response to the start of its run is lost" in done.stdout
    assert "3 uploads, 3 started runs, " in done.stdout
    assert "queued" not in done.stdout
    # Before Airflow 3.3 a retry does not know its run.
    heals = "resumed: only Captions" in done.stdout
    assert heals == ("its tile Captions fails" in done.stdout) == ("3 started runs, 1 resumed" in done.stdout)


def _mentions(pid: int, folder: Path) -> bool:
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
