from __future__ import annotations

from tasks.fixtures import clock, hook, mosaic

__all__ = ["clock", "hook", "mosaic"]
