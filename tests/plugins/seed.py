"""Insert DAGs, DAG runs, task instances and XComs into Airflow's database."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine, insert, select
from sqlalchemy.orm import Session


def seed(database: str, tasks: Iterable[Mapping[str, Any]]) -> None:
    """
    Insert task instances with all that they need.

    :param database: The URL of the database.

    :param tasks: For each: ``dag_id``, ``run_id``, ``task_id``, ``map_index``, ``operator``, ``state``,
        ``rendered_map_index``, ``xcoms`` by key, and ``age``, seconds since its XComs were pushed.
    """
    now = datetime.now(timezone.utc)
    tasks = list(tasks)
    engine = create_engine(database)
    with Session(engine) as session, session.begin():
        if session.get(DagBundleModel, "seeded") is None:
            session.execute(insert(DagBundleModel).values(_complete(DagBundleModel, name="seeded")))
        known = set(session.scalars(select(DagModel.dag_id)))
        for dag_id in {task["dag_id"] for task in tasks} - known:
            values = _complete(DagModel, dag_id=dag_id, bundle_name="seeded", is_stale=False, fileloc="/dag.py")
            session.execute(insert(DagModel).values(values))
        query = select(DagRun.dag_id, DagRun.run_id, DagRun.id)
        runs = {(run.dag_id, run.run_id): run.id for run in session.execute(query)}
        rows: list[dict[str, Any]] = []
        xcoms: list[dict[str, Any]] = []
        for task in tasks:
            pushed = now - timedelta(seconds=task["age"])
            key = (task["dag_id"], task["run_id"])
            if key not in runs:
                moment = pushed - timedelta(microseconds=len(runs))
                values = _complete(
                    DagRun,
                    dag_id=key[0],
                    run_id=key[1],
                    logical_date=moment,
                    run_after=moment,
                    run_type="manual",
                    state="running",
                    start_date=moment,
                )
                [runs[key]] = session.execute(insert(DagRun).values(values)).inserted_primary_key
            place = {name: task[name] for name in ("dag_id", "run_id", "task_id", "map_index")}
            ended = task["state"] in ("success", "failed", "skipped")
            rows.append(
                _complete(
                    TaskInstance,
                    **place,
                    id=uuid.uuid4(),
                    operator=task["operator"],
                    rendered_map_index=task["rendered_map_index"],
                    custom_operator_name=task["operator"],
                    state=task["state"],
                    pool="default_pool",
                    try_number=1,
                    max_tries=0,
                    queue="default",
                    start_date=pushed,
                    end_date=pushed + timedelta(seconds=60) if ended else None,
                    executor_config={},
                    span_status="not_started",
                )
            )
            xcoms += [
                {**place, "dag_run_id": runs[key], "key": name, "value": value, "timestamp": pushed}
                for name, value in task["xcoms"].items()
            ]
        session.execute(TaskInstance.__table__.insert(), rows)
        if xcoms:
            session.execute(insert(XComModel), xcoms)
    engine.dispose()


def _complete(model: Any, **values: Any) -> dict[str, Any]:
    """Return the values of a row, without columns that this Airflow lacks, and with all that it requires."""
    columns = model.__table__.columns
    row = {name: value for name, value in values.items() if name in columns}
    if "id" in row and columns["id"].type.python_type is str:
        row["id"] = str(row["id"])
    for column in columns:
        missing = column.name not in row and not column.nullable and column.default is None
        if missing and column.server_default is None and not (column.primary_key and column.autoincrement):
            row[column.name] = {bool: False, int: 0, str: ""}.get(column.type.python_type, 0)
    return row
