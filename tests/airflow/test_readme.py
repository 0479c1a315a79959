"""The README's quick start, typed as it stands. ``make quick-start`` adds the installation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dev import quick_start, recordings

pytestmark = pytest.mark.airflow


def test_the_quick_start_edits_a_video(tmp_path: Path) -> None:
    quick_start.run(tmp_path, programs=Path(sys.executable).parent, environment={}, install=False)
    [edited] = (tmp_path / "edited").glob("*.mp4")
    assert recordings.inspect(edited).is_9_to_16
