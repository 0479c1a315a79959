"""
The tasks that the fault runner kills: one DAG for each way to set an operator up.

The operators are the product's own. A hook before each try says which process it is, and sets the seams that the
DAG run asks for: places where the process kills itself, where nobody could hit the moment from outside.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)

CONTROL = Path(os.environ["MOSAIC_FAULTS_CONTROL"])
AGENT = "a0000000-0000-4000-8000-000000000001"
ACCOUNT = "c0000000-0000-4000-8000-000000000001"

RETRIED: dict[str, Any] = {"retries": 2, "retry_delay": timedelta(seconds=1)}

#: What a look-up lasts instead of two minutes, unless the DAG run is told to be patient.
QUICK_PAUSES = (0.5, 1.0, 1.5, 2.0)


def prepare(context: Mapping[str, Any]) -> None:
    """Say which process this is, and set the seams; called before each try and each part of it."""
    ti = context["ti"]
    params = context["params"]
    folder = CONTROL / str(ti.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    server = ti._ti_context_from_server
    part = "resume" if server is not None and server.next_method else "execute"
    written = folder / f".{os.getpid()}"
    written.write_text(json.dumps({"pid": os.getpid(), "try": ti.try_number, "part": part}))
    written.rename(folder / f"{ti.try_number}-{part}-{os.getpid()}.json")

    from airflow_provider_mosaic.tasks import once, waiting
    from airflow_provider_mosaic.tasks.memory import TaskMemory
    from airflow_provider_mosaic.tasks.run_waits import RunWait

    seams = params["seams"]
    if "patient" not in seams:
        setattr(once, "PAUSES", QUICK_PAUSES)  # noqa: B010

    def die(name: str) -> None:
        """End this process as a lost machine would, once in the life of the DAG run."""
        try:
            (folder / f"{name}.died").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: Any, method: str, *, before: str | None = None, after: str | None = None) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if before in seams:
                die(str(before))
            result = original(*args, **kwargs)
            if after in seams:
                die(str(after))
            return result

        setattr(owner, method, wrapped)

    around(TaskMemory, "keep", after="die_after_keep")
    around(TaskMemory, "note", before="die_before_note", after="die_after_note")
    around(RunWait, "go_on", before="die_at_resume")
    around(RunWait, "_finish", after="die_at_end")
    if "deaf_trigger" in seams:
        # As if the trigger never looked at its clock: Airflow's own is over first.
        setattr(waiting, "backstop", lambda deadline, poll_interval: timedelta(seconds=2))  # noqa: B010


def shape(dag_id: str, operator: type[Any], **arguments: Any) -> None:
    """One DAG with one task."""
    with DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_runs=100,
        params={
            "connection": Param("mosaic_default", type="string"),
            "source": Param("", type="string"),
            "text": Param("", type="string"),
            "seams": Param([], type="array"),
        },
    ) as made:
        operator(
            task_id="effect",
            mosaic_conn_id="{{ params.connection }}",
            pre_execute=prepare,
            **arguments,
        )
    globals()[dag_id] = made


def run_shape(name: str, **arguments: Any) -> None:
    """A run of an agent, on a worker and deferred."""
    for mode in ("worker", "deferred"):
        shape(
            f"run_{name}_{mode}",
            MosaicRunAgentOperator,
            agent_id=AGENT,
            video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"],
            poll_interval=1,
            deferrable=mode == "deferred",
            **arguments,
        )


run_shape("retried", **RETRIED)
run_shape("once")
run_shape("kept", cancel_on_kill=False)
run_shape("timeout", timeout=8, **RETRIED)
run_shape("timeout_kept", timeout=8, cancel_on_kill=False, **RETRIED)
run_shape("execution_timeout", execution_timeout=timedelta(seconds=10))
for waiting in ("worker", "deferred"):
    shape(
        f"post_retried_{waiting}",
        MosaicSocialPostOperator,
        text="{{ params.text }}",
        social_connection_ids=[ACCOUNT],
        wait_for_completion=True,
        poll_interval=1,
        deferrable=waiting == "deferred",
        **RETRIED,
    )
shape(
    "agent_retried_worker",
    MosaicApplyAgentOperator,
    definition={
        "name": "Made once",
        "nodes": {"film": {"tile": "Video Generation"}, "captions": {"tile": "Captions"}},
        "connections": [["film", "captions"]],
    },
    **RETRIED,
)
shape("upload_retried_worker", MosaicUploadOperator, source="{{ params.source }}", **RETRIED)
