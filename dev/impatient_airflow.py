"""An Airflow for kills: it notices in a minute what takes it five by default, and its SQLite stands more at a time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

#: Environment variables of its processes.
IMPATIENCE = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # Now and then Airflow's watcher misses that the task's process closed its socket, and only goes on after a minute.
    "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "5",
}


def new_sqlite(path: Path) -> str:
    """Make a SQLite database whose readers keep no writer waiting, and return its address for Airflow."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{path}"
