"""
The DAGs of the fault tests. Each has one task, with an operator of this provider.

Before each try, :func:`prepare` records the task's process and sets the failpoints of the DAG run: points at which the
process kills itself, because a signal from outside would come too early or too late.
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

#: Seconds between the reads of a search, unless the DAG run has the failpoint ``real_search``: then two minutes in all.
SHORT_PAUSES = (0.5, 1.0, 1.5, 2.0)


def prepare(context: Mapping[str, Any]) -> None:
    """Record the process and set the failpoints. Airflow calls this before each ``execute`` and each resume."""
    ti = context["ti"]
    params = context["params"]
    folder = CONTROL / str(ti.run_id)
    folder.mkdir(parents=True, exist_ok=True)
    server = ti._ti_context_from_server
    method = "resume" if server is not None and server.next_method else "execute"
    written = folder / f".{os.getpid()}"
    written.write_text(json.dumps({"pid": os.getpid(), "try_number": ti.try_number, "method": method}))
    written.rename(folder / f"{ti.try_number}-{method}-{os.getpid()}.json")

    from airflow_provider_mosaic.durable import completion_waiter, create_once
    from airflow_provider_mosaic.durable.task_state import TaskState
    from airflow_provider_mosaic.tasks.run_cancels import EarlyEndCancels
    from airflow_provider_mosaic.tasks.run_waits import RunWait

    failpoints = params["failpoints"]
    if "real_search" not in failpoints:
        setattr(create_once, "PAUSES", SHORT_PAUSES)  # noqa: B010

    def die(name: str) -> None:
        """Send SIGKILL to this process, once a DAG run."""
        try:
            (folder / f"{name}.died").touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def set_failpoint(owner: Any, method: str, *, before: str | None = None, after: str | None = None) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if before in failpoints:
                die(str(before))
            result = original(*args, **kwargs)
            if after in failpoints:
                die(str(after))
            return result

        setattr(owner, method, wrapped)

    set_failpoint(TaskState, "save", after="die_after_intent")
    set_failpoint(TaskState, "save_best_effort", before="die_before_id", after="die_after_id")
    set_failpoint(RunWait, "continue_after_deferral", before="die_after_deferral")
    set_failpoint(RunWait, "finish", after="die_at_end")
    set_failpoint(EarlyEndCancels, "cancel", after="die_after_cancel")
    break_airflow(failpoints, ti.try_number, folder)
    if "stalled_trigger" in failpoints:
        # Airflow's timeout of the trigger expires before the trigger's own.
        setattr(completion_waiter, "backstop", lambda deadline, poll_interval: timedelta(seconds=2))  # noqa: B010


def break_airflow(failpoints: list[str], try_number: int, folder: Path) -> None:
    """Let XCom and the state store fail at the failpoints."""
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def failing(method: Callable[..., Any], fails: Callable[..., bool]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            if fails(*args, **kwargs):
                raise ConnectionError("the storage is unavailable")
            return method(self, *args, **kwargs)

        return wrapped

    def replace(owner: Any, name: str, fails: Callable[..., bool]) -> None:
        setattr(owner, name, failing(getattr(owner, name), fails))

    if "xcom_fails" in failpoints:
        replace(RuntimeTaskInstance, "xcom_push", lambda *args, **kwargs: True)
    if "store_fails_at_intent" in failpoints and try_number == 1:
        replace(TaskStateStoreAccessor, "set", lambda key, value, **kwargs: True)
    if "store_fails_at_id" in failpoints:
        replace(TaskStateStoreAccessor, "set", lambda key, value, **kwargs: "id" in value)
    if "store_fails_at_retry" in failpoints and try_number == 2:
        replace(TaskStateStoreAccessor, "get", lambda *args, **kwargs: True)
    if "store_loses_value" in failpoints:
        os.environ |= {
            "AIRFLOW__WORKERS__STATE_STORE_BACKEND": (
                "airflow.providers.common.io.state_store.backend.StateStoreObjectStorageBackend"
            ),
            "AIRFLOW__COMMON_IO__STATE_STORE_OBJECTSTORAGE_PATH": f"file://{folder}/state",
        }
        if try_number == 2:
            shutil.rmtree(folder / "state")


def create_dag(
    dag_id: str, operator: type[Any], upstream: Callable[[], BaseOperator] | None = None, **arguments: Any
) -> None:
    """Create a DAG with one task, and possibly an upstream task that may fail."""
    with DAG(
        dag_id=dag_id,
        schedule=None,
        max_active_runs=100,
        params={
            "connection": Param("mosaic_default", type="string"),
            "source": Param("", type="string"),
            "text": Param("", type="string"),
            "run": Param("", type="string"),
            "failpoints": Param([], type="array"),
        },
    ) as dag:
        task = operator(
            task_id="mosaic_task",
            mosaic_conn_id="{{ params.connection }}",
            pre_execute=prepare,
            trigger_rule="all_done",
            **arguments,
        )
        if upstream is not None:
            upstream() >> task
    globals()[dag_id] = dag


VIDEO_URLS = ["https://www.youtube.com/watch?v=aqz-KE-bpKQ"]


def rejected_siblings() -> Any:
    """Return mapped tasks that fail before they send a request."""
    siblings = MosaicRunAgentOperator.partial(
        task_id="sibling", mosaic_conn_id="{{ params.connection }}", agent_id=AGENT, retries=0
    )
    return siblings.expand(video_urls=[["not a URL"], ["not a URL either"]])


def lost_sibling() -> BaseOperator:
    """Return a task that dies before it knows the id of its run."""
    return MosaicRunAgentOperator(
        task_id="sibling",
        mosaic_conn_id="{{ params.connection }}",
        agent_id=AGENT,
        video_urls=VIDEO_URLS,
        pre_execute=prepare,
        retries=0,
    )


def create_run_dags(name: str, **arguments: Any) -> None:
    """Create DAGs that run an agent and wait for it, on a worker and deferred."""
    for mode in ("worker", "deferred"):
        create_dag(
            f"run_{name}_{mode}",
            MosaicRunAgentOperator,
            agent_id=AGENT,
            video_urls=VIDEO_URLS,
            poll_interval=1,
            deferrable=mode == "deferred",
            **arguments,
        )


create_run_dags("with_retries", **RETRIED)
create_run_dags("with_late_retries", retries=2, retry_delay=timedelta(seconds=40))
create_run_dags("without_retries")
create_run_dags("not_cancelled", cancel_on_kill=False)
create_run_dags("with_timeout", timeout=8, **RETRIED)
create_run_dags("with_timeout_not_cancelled", timeout=8, cancel_on_kill=False, **RETRIED)
create_run_dags("with_execution_timeout", execution_timeout=timedelta(seconds=10))
create_run_dags("with_timeout_and_retries", execution_timeout=timedelta(seconds=10), **RETRIED)
for mode in ("worker", "deferred"):
    create_dag(
        f"post_with_retries_{mode}",
        MosaicSocialPostOperator,
        text="{{ params.text }}",
        social_connection_ids=[ACCOUNT],
        wait_for_completion=True,
        poll_interval=1,
        deferrable=mode == "deferred",
        **RETRIED,
    )
create_dag(
    "agent_with_retries_worker",
    MosaicApplyAgentOperator,
    definition={
        "name": "Created once",
        "nodes": {"film": {"tile": "Video Generation"}, "captions": {"tile": "Captions"}},
        "connections": [["film", "captions"]],
    },
    **RETRIED,
)
create_dag("upload_with_retries_worker", MosaicUploadOperator, source="{{ params.source }}", **RETRIED)
create_dag("run_resumed_worker", MosaicResumeRunOperator, run_id="{{ params.run }}", poll_interval=1, **RETRIED)
create_dag(
    "avatar_with_retries_worker",
    MosaicCreateAvatarProfileOperator,
    name="Host",
    video_url="https://cdn.example.org/host.mp4",
    **RETRIED,
)
for mode in ("worker", "deferred"):
    create_dag(
        f"run_sensor_{mode}",
        MosaicRunSensor,
        run_id="{{ params.run }}",
        poll_interval=1,
        deferrable=mode == "deferred",
        soft_fail=True,
    )
for name, upstream in (("rejected_siblings", rejected_siblings), ("lost_sibling", lost_sibling)):
    create_dag(
        f"run_after_{name}_worker",
        MosaicRunAgentOperator,
        upstream,
        agent_id=AGENT,
        video_urls=VIDEO_URLS,
        poll_interval=1,
        **RETRIED,
    )
