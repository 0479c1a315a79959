"""Airflow settings that detect killed processes within a minute instead of five."""

from __future__ import annotations

#: Environment variables.
FAST_INTERVALS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    # Airflow's supervisor sometimes misses that a task process closed its socket, and then waits for a minute.
    "AIRFLOW__WORKERS__SOCKET_CLEANUP_TIMEOUT": "5",
}
