from __future__ import annotations

import re

import pytest

from airflow_provider_mosaic.clients.progress import TransferProgress, format_estimate, format_size

MIB = 1024 * 1024
GIB = 1024 * MIB


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def lines_of(*, total: int | None, step: int, steps: int, seconds: float) -> list[str]:
    """Return the lines of a transfer of ``steps`` blocks that take ``seconds`` each."""
    clock = Clock()
    lines: list[str] = []
    progress = TransferProgress("cut.mp4", lines.append, total=total, now=clock)
    for number in range(1, steps + 1):
        clock.seconds += seconds
        progress.update(number * step)
    progress.finish(steps * step)
    return lines


def test_progress_line() -> None:
    lines = lines_of(total=5 * GIB, step=85 * MIB, steps=60, seconds=1.0)
    assert lines[0] == "cut.mp4: 850 MB of 5.0 GB (16 %), 85 MB/s, about 50 s left"
    assert lines[1] == "cut.mp4: 1.7 of 5.0 GB (33 %), 85 MB/s, about 40 s left"
    assert lines[-1] == "cut.mp4: 5.0 GB in 60 s, 85 MB/s"


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.27, 1.4, 9.96, 44.0, 100.0, 599.0, 4321.0])
def test_final_rate_matches_the_duration(seconds: float) -> None:
    line = lines_of(total=5 * GIB, step=5 * GIB, steps=1, seconds=seconds)[-1]
    size, time, speed = re.fullmatch(r"cut\.mp4: (.+) in (.+), (.+)/s", line).groups()  # type: ignore[union-attr]
    units = {"s": 1, "min": 60, "h": 3600, "MB": MIB, "GB": GIB, "TB": 1024 * GIB}

    def value(text: str) -> float:
        parts = text.split()
        return sum(float(n) * units[unit] for n, unit in zip(parts[::2], parts[1::2], strict=True))

    assert value(size) / value(time) == pytest.approx(value(speed), rel=0.1)


def test_number_of_progress_lines() -> None:
    assert len(lines_of(total=GIB, step=MIB, steps=1024, seconds=0.001)) == 1
    assert 9 <= len(lines_of(total=5 * GIB, step=MIB, steps=5 * 1024, seconds=1.0)) <= 11


def test_progress_without_a_total() -> None:
    lines = lines_of(total=None, step=MIB, steps=36_000, seconds=1.0)
    assert len(lines) <= 14
    assert lines[0] == "cut.mp4: 10 MB, 1.0 MB/s"


def test_progress_after_a_restart() -> None:
    clock = Clock()
    lines: list[str] = []
    progress = TransferProgress("cut.mp4", lines.append, total=100 * MIB, now=clock)
    for seconds, done in ((20, 50 * MIB), (30, 0), (50, 20 * MIB)):
        clock.seconds = seconds
        progress.update(done)
    assert lines == [
        "cut.mp4: 50 of 100 MB (50 %), 2.5 MB/s, about 20 s left",
        "cut.mp4: 20 of 100 MB (20 %), 683 KB/s, about 2 min left",
    ]


def test_sizes_and_estimates() -> None:
    assert [format_size(size) for size in (1, 1023, 1536, 5368709120, 52428800)] == [
        "1 B",
        "1.0 KB",
        "1.5 KB",
        "5.0 GB",
        "50 MB",
    ]
    assert [format_estimate(seconds) for seconds in (0.2, 45, 600, 7320)] == ["1 s", "45 s", "10 min", "2 h 02 min"]
