"""What the emulator has counted."""

from __future__ import annotations

from mosaic_emulator import Emulator


def posts(mosaic: Emulator) -> int:
    """How many requests that change something the server has received."""
    return sum(count for request, count in mosaic.counts().requests.items() if not request.startswith("GET "))
