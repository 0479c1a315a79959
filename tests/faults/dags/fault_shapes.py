"""
The tasks that the fault runner kills: one DAG for each way to set an operator up.

The operators are the product's own. A hook before each try says which process it is, and sets the seams that the
DAG run asks for: places where the process kills itself, where nobody could hit the moment from outside.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param

from airflow_provider_mosaic.operators import (
    MosaicApplyAgentOperator,
    MosaicCreateAvatarProfileOperator,
    MosaicResumeRunOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
    MosaicUploadOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor

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

    from airflow_provider_mosaic.durable import completion_waiter as waiting
    from airflow_provider_mosaic.durable import create_once as once
    from airflow_provider_mosaic.durable.task_state import TaskState
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

    around(TaskState, "_save", after="die_after_keep")
    around(TaskState, "save_best_effort", before="die_before_note", after="die_after_note")
    around(RunWait, "resume", before="die_at_resume")
    around(RunWait, "finish", after="die_at_end")
    around(RunWait, "_cancel_best_effort", after="die_after_cancel")
    break_airflow(seams, ti.try_number, folder)
    if "deaf_trigger" in seams:
        # As if the trigger never looked at its clock: Airflow's own is over first.
        setattr(waiting, "backstop", lambda deadline, poll_interval: timedelta(seconds=2))  # noqa: B010


def break_airflow(seams: list[str], try_number: int, folder: Path) -> None:
    """Let what Airflow keeps for this task fail, as the seams say."""
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def away(method: Callable[..., Any], fails: Callable[..., bool]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            if fails(*args, **kwargs):
                raise ConnectionError("the storage is away")
            return method(self, *args, **kwargs)

        return wrapped

    def replace(owner: Any, name: str, fails: Callable[..., bool]) -> None:
        setattr(owner, name, away(getattr(owner, name), fails))

    if "xcom_away" in seams:
        replace(RuntimeTaskInstance, "xcom_push", lambda *args, **kwargs: True)
    if "store_away_at_intent" in seams and try_number == 1:
        replace(TaskStateStoreAccessor, "set", lambda key, value, **kwargs: True)
    if "store_away_at_id" in seams:
        replace(TaskStateStoreAccessor, "set", lambda key, value, **kwargs: "id" in value)
    if "store_away_at_retry" in seams and try_number == 2:
        replace(TaskStateStoreAccessor, "get", lambda *args, **kwargs: True)
    if "object_gone" in seams:
        os.environ |= {
            "AIRFLOW__WORKERS__STATE_STORE_BACKEND": (
                "airflow.providers.common.io.state_store.backend.StateStoreObjectStorageBackend"
            ),
            "AIRFLOW__COMMON_IO__STATE_STORE_OBJECTSTORAGE_PATH": f"file://{folder}/state",
        }
        if try_number == 2:
            shutil.rmtree(folder / "state")


def shape(dag_id: str, operator: type[Any], before: Callable[[], BaseOperator] | None = None, **arguments: Any) -> None:
    """One DAG with one task, and perhaps one that comes before it, whatever becomes of that."""
    with DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_runs=100,
        params={
            "connection": Param("mosaic_default", type="string"),
            "source": Param("", type="string"),
            "text": Param("", type="string"),
            "run": Param("", type="string"),
            "seams": Param([], type="array"),
        },
    ) as made:
        effect = operator(
            task_id="effect",
            mosaic_conn_id="{{ params.connection }}",
            pre_execute=prepare,
            trigger_rule="all_done",
            **arguments,
        )
        if before is not None:
            before() >> effect
    globals()[dag_id] = made


FILM = ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]


def refused() -> Any:
    """Mapped siblings that are refused before anything is sent."""
    siblings = MosaicRunAgentOperator.partial(
        task_id="before", mosaic_conn_id="{{ params.connection }}", agent_id=AGENT, retries=0
    )
    return siblings.expand(video_urls=[["no address"], ["neither"]])


def lost() -> BaseOperator:
    """A sibling that dies before it knows what it has begun."""
    return MosaicRunAgentOperator(
        task_id="before",
        mosaic_conn_id="{{ params.connection }}",
        agent_id=AGENT,
        video_urls=FILM,
        pre_execute=prepare,
        retries=0,
    )


def run_shape(name: str, **arguments: Any) -> None:
    """A run of an agent, on a worker and deferred."""
    for mode in ("worker", "deferred"):
        shape(
            f"run_{name}_{mode}",
            MosaicRunAgentOperator,
            agent_id=AGENT,
            video_urls=FILM,
            poll_interval=1,
            deferrable=mode == "deferred",
            **arguments,
        )


run_shape("retried", **RETRIED)
run_shape("retried_later", retries=2, retry_delay=timedelta(seconds=40))
run_shape("once")
run_shape("kept", cancel_on_kill=False)
run_shape("timeout", timeout=8, **RETRIED)
run_shape("timeout_kept", timeout=8, cancel_on_kill=False, **RETRIED)
run_shape("execution_timeout", execution_timeout=timedelta(seconds=10))
run_shape("hurried", execution_timeout=timedelta(seconds=10), **RETRIED)
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
shape("run_resumed_worker", MosaicResumeRunOperator, run_id="{{ params.run }}", poll_interval=1, **RETRIED)
shape(
    "avatar_retried_worker",
    MosaicCreateAvatarProfileOperator,
    name="Host",
    video_url="https://cdn.example.org/host.mp4",
    **RETRIED,
)
for waiting in ("worker", "deferred"):
    shape(
        f"run_sensed_{waiting}",
        MosaicRunSensor,
        run_id="{{ params.run }}",
        poll_interval=1,
        deferrable=waiting == "deferred",
        soft_fail=True,
    )
for name, before in (("refused", refused), ("lost", lost)):
    shape(
        f"run_beside_{name}_worker",
        MosaicRunAgentOperator,
        before,
        agent_id=AGENT,
        video_urls=FILM,
        poll_interval=1,
        **RETRIED,
    )
