"""Measure the attacks of hostile servers for ``make test-hostile``: time, memory, and secrets in logs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_RESET_PEAK = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass
class Attacks:
    """The worst figures of all attacks so far."""

    count: int = 0
    longest: float = 0.0
    longest_name: str = ""
    most_kilobytes: int = 0
    most_kilobytes_name: str = ""
    lines: int = 0
    leaks: int = 0

    def __str__(self) -> str:
        memory = f"{self.most_kilobytes / 1024:.0f} MiB ({self.most_kilobytes_name})" if _RESET_PEAK.exists() else "?"
        return (
            f"{self.count:,} attacks\n"
            f"longest: {self.longest:.1f} s ({self.longest_name})\n"
            f"most memory, with the server's own: {memory}\n"
            f"secrets in {self.lines:,} log lines at DEBUG: {self.leaks}"
        )


ATTACKS = pytest.StashKey[Attacks]()


@pytest.fixture(autouse=True)
def measured_attack(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure each test if only those marked ``hostile`` are run."""
    if request.config.option.markexpr != "hostile":
        yield
        return
    from airflow_provider_mosaic.api import redaction

    attacks = request.config.stash.setdefault(ATTACKS, Attacks())
    before = _reset_peak()
    started = time.monotonic()
    with _all_lines() as lines:
        yield
    seconds = time.monotonic() - started
    attacks.count += 1
    if seconds > attacks.longest:
        attacks.longest, attacks.longest_name = seconds, request.node.name
    if (grown := _kilobytes("VmHWM") - before) > attacks.most_kilobytes:
        attacks.most_kilobytes, attacks.most_kilobytes_name = grown, request.node.name
    secrets = (*redaction._known, *redaction._signed)
    leaked = [line for line in lines if any(secret in line for secret in secrets)]
    attacks.lines += len(lines)
    attacks.leaks += len(leaked)
    assert leaked == []


def _reset_peak() -> int:
    """Reset the peak memory of this process, and return its present memory in kilobytes."""
    if not _RESET_PEAK.exists():
        return 0
    _RESET_PEAK.write_text("5")
    return _kilobytes("VmRSS")


def _kilobytes(name: str) -> int:
    if not _RESET_PEAK.exists():
        return 0
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name))


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.NOTSET)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(logging.Formatter().format(record))


@contextmanager
def _all_lines() -> Iterator[list[str]]:
    """Collect the lines of all loggers, at every level."""
    lines: list[str] = []
    handler = _Lines(lines)
    loggers = [logging.getLogger(name) for name in (None, "urllib3", "httpx", "httpcore", "airflow_provider_mosaic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(handler)
    try:
        yield lines
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
