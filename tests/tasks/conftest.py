from __future__ import annotations

from tasks.fixtures import clock, hook, mosaic, short_doubts

__all__ = ["clock", "hook", "mosaic", "short_doubts"]
