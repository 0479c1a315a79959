from __future__ import annotations

from tasks.fixtures import as_mosaic_itself, clock, hook, lookups, mosaic, short_doubts

__all__ = ["as_mosaic_itself", "clock", "hook", "lookups", "mosaic", "short_doubts"]
