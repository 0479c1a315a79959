from __future__ import annotations

from tasks.fixtures import clock, hook, lookups, mosaic, short_doubts

__all__ = ["clock", "hook", "lookups", "mosaic", "short_doubts"]
