"""Tasks that end before their run, in all configurations."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_mosaic.operators import MosaicRunAgentOperator


def short_timeout(context: Mapping[str, Any]) -> None:
    """Make the trigger miss its timeout, so that Airflow's own limit applies."""
    from airflow_provider_mosaic.durable import completion_waiter as waiting

    setattr(waiting, "backstop", lambda deadline, poll_interval: timedelta(seconds=2))  # noqa: B010


SHAPES: dict[str, dict[str, Any]] = {
    "worker": {"deferrable": False},
    "deferred": {},
    "kept": {"cancel_on_kill": False},
    "timeout_worker": {"deferrable": False, "timeout": 8},
    "timeout_deferred": {"timeout": 8},
    # Long enough for the start of a run, although ten tasks start at once on a busy machine.
    "execution_timeout_worker": {"deferrable": False, "execution_timeout": timedelta(seconds=25)},
    "execution_timeout_deferred": {"execution_timeout": timedelta(seconds=25)},
    "limit_deferred": {"pre_execute": short_timeout},
    "retried": {"retries": 2, "retry_delay": timedelta(seconds=1)},
}
for name, arguments in SHAPES.items():
    with DAG(f"exit_{name}", schedule=None) as made:
        MosaicRunAgentOperator(
            task_id="edit",
            agent_id="a0000000-0000-4000-8000-000000000004",
            poll_interval=1,
            **{"deferrable": True, **arguments},
        )
    globals()[f"exit_{name}"] = made
