from __future__ import annotations

from tasks.fixtures import as_production_api, clock, hook, lookups, mosaic, short_pauses

__all__ = ["as_production_api", "clock", "hook", "lookups", "mosaic", "short_pauses"]
