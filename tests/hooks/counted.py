"""Counts of the emulator."""

from __future__ import annotations

from mosaic_emulator import Emulator


def posts(mosaic: Emulator) -> int:
    """Return how many requests other than GET the emulator received."""
    return sum(count for request, count in mosaic.counts().requests.items() if not request.startswith("GET "))
