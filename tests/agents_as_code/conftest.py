from __future__ import annotations

from tasks.fixtures import hook, mosaic, no_duplicate_delay

__all__ = ["hook", "mosaic", "no_duplicate_delay"]
