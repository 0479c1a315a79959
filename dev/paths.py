"""Directories of this repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: The only directory that the commands of this repository write to.
LOCAL = ROOT / ".local"
#: The interpreter of the environment with the providers that the benchmarks compare with; ``make bench`` makes it.
PEERS_PYTHON = LOCAL / "nox" / "extended-peers" / "bin" / "python"
