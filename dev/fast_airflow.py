"""An Airflow for kills: it notices in a minute what takes it five by default."""

from __future__ import annotations

#: Environment variables of its processes.
FAST_INTERVALS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # Now and then Airflow's watcher misses that the task's process closed its socket, and only goes on after a minute.
    "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "5",
}
