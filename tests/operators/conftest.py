from __future__ import annotations

from tasks.fixtures import as_production_api, clock, hook, lookups, mosaic, short_pauses, supervisor

__all__ = ["as_production_api", "clock", "hook", "lookups", "mosaic", "short_pauses", "supervisor"]
