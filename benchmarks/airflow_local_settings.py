"""Settings of a triggerer with thousands of triggers, for `benchmarks/waits_triggerer.py`: `$AIRFLOW_HOME/config`."""

from __future__ import annotations

import gc

# A full garbage collection scans everything that Airflow has loaded, and stops the event loop for a third of a second.
# With thousands of triggers, the triggerer's own loop causes two a minute.
gc.set_threshold(50_000, 20, 100)
