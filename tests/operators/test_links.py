"""The link of a task: Airflow's UI reads it from the database, also with a custom XCom backend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time import xcom as xcom_module
from airflow.sdk.execution_time.comms import (
    GetXCom,
    GetXComSequenceSlice,
    SetXCom,
    XComResult,
    XComSequenceSliceResult,
)

from airflow_provider_mosaic.links import MosaicAgentLink, MosaicPageLink, MosaicPostLink
from airflow_provider_mosaic.operators import MosaicRunAgentOperator
from airflow_provider_mosaic.tasks.reporting import ITEM_KEY, TaskItem, agent_url, read_item
from airflow_provider_mosaic.tasks.run_waits import push_run

KEY = SimpleNamespace(dag_id="dag", task_id="run", run_id="manual__1", map_index=3)


class Elsewhere(BaseXCom):
    """An XCom backend that stores values outside the database."""

    values: dict[str, Any] = {}

    @staticmethod
    def serialize_value(value: Any, *, key: str | None = None, **_: Any) -> str:
        Elsewhere.values[f"ref:{key}"] = value
        return f"ref:{key}"

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        return Elsewhere.values[result.value]


class Database:
    """The XComs of a supervisor."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}

    def send(self, msg: Any) -> Any:
        if isinstance(msg, SetXCom):
            assert (msg.dag_id, msg.task_id, msg.run_id, msg.map_index) == ("dag", "run", "manual__1", 3)
            self.rows[msg.key] = msg.value
            return None
        if isinstance(msg, GetXComSequenceSlice):
            return XComSequenceSliceResult(root=[self.rows[msg.key]] if msg.key in self.rows else [])
        assert isinstance(msg, GetXCom)
        return XComResult(key=msg.key, value=self.rows.get(msg.key))


@pytest.fixture(params=[BaseXCom, Elsewhere], ids=["Airflow's backend", "another backend"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Database:
    database = Database()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", database, raising=False)
    monkeypatch.setattr(xcom_module, "XCom", request.param)
    return database


def context() -> dict[str, Any]:
    def push(key: str, value: Any) -> None:
        xcom_module.XCom.set(key, value, **vars(KEY))

    return {"ti": SimpleNamespace(xcom_push=push, task=SimpleNamespace(outlets=[]), **vars(KEY))}


def test_url_is_in_the_database_at_once(database: Database) -> None:
    address = agent_url("an-agent", "https://api.mosaic.so")
    hook: Any = SimpleNamespace(
        mosaic_conn_id="mosaic_default", access=SimpleNamespace(base_url="https://api.mosaic.so")
    )
    push_run(context(), hook, "a-run", "an-agent")
    assert database.rows[MosaicAgentLink().xcom_key] == address
    # The API server reads it for the task's page.
    item = read_item(database.rows[ITEM_KEY])
    assert item == TaskItem(kind="run", id="a-run", conn_id="mosaic_default", agent_id="an-agent")
    operator = MosaicRunAgentOperator(task_id="run", agent_id="an-agent")
    # Airflow stores the link again when the task defers or ends.
    assert MosaicAgentLink().get_link(operator, ti_key=KEY) == address  # type: ignore[arg-type]


@pytest.mark.parametrize(("link", "name"), [(MosaicAgentLink(), "Mosaic"), (MosaicPostLink(), "Post")])
@pytest.mark.parametrize(("base_url", "path"), [("", ""), ("https://example.org/airflow/", "/airflow")])
def test_without_an_address_in_mosaic_the_button_opens_the_page_in_airflow(
    database: Database, monkeypatch: pytest.MonkeyPatch, link: MosaicPageLink, name: str, base_url: str, path: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    hook: Any = SimpleNamespace(mosaic_conn_id="mosaic_default", access=SimpleNamespace(base_url="http://127.0.0.1:1"))
    push_run(context(), hook, "a-run", "an-agent")
    operator = MosaicRunAgentOperator(task_id="run", agent_id="an-agent")
    assert link.name == name
    assert link.get_link(operator, ti_key=KEY) == f"{path}/mosaic/tasks/dag/manual__1/run/3"  # type: ignore[arg-type]


def test_no_link_without_a_run(database: Database) -> None:
    operator = MosaicRunAgentOperator(task_id="run", agent_id="an-agent")
    assert MosaicAgentLink().get_link(operator, ti_key=KEY) == ""  # type: ignore[arg-type]


def test_link_of_a_task_that_is_not_mapped(database: Database) -> None:
    operator, link = MosaicRunAgentOperator(task_id="run", agent_id="an-agent"), MosaicAgentLink()
    key: Any = SimpleNamespace(**{**vars(KEY), "map_index": -1})
    assert link.get_link(operator, ti_key=key) == ""
    database.rows[link.xcom_key] = "https://edit.mosaic.so/agents/an-agent"
    assert link.get_link(operator, ti_key=key) == "https://edit.mosaic.so/agents/an-agent"
