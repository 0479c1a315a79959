"""Commands that only read: their output, for people and for programs, and their errors."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml  # type: ignore[import-untyped]
from mosaic_emulator import Emulator

from airflow_provider_mosaic.hooks.mosaic import MosaicHook

from .conftest import Result

Run = Callable[..., Result]
#: The emulator's agent that takes no input.
AGENT = "a0000000-0000-4000-8000-000000000004"
VIDEO = "https://www.youtube.com/watch?v=aqz-KE-bpKQ"


def test_whoami_shows_the_owner_of_the_connection_in_airflows_database(
    run: Run, saved_connection: str, mosaic_emulator: Emulator
) -> None:
    done = run("whoami", "--conn-id", saved_connection, "-o", "json")
    assert (done.status, done.err) == (0, "")
    [owner] = json.loads(done.out)
    assert owner == {
        "connection": saved_connection,
        "base_url": mosaic_emulator.url,
        "owner": "Emulated Films",
        "organization_id": "0a000000-0000-4000-8000-000000000001",
        "workspace_id": None,
        "scopes": ["all"],
    }
    assert mosaic_emulator.api_key not in done.out


def test_a_table_has_a_row_for_each_field(run: Run, hook: MosaicHook) -> None:
    done = run("whoami")
    assert "owner           | Emulated Films" in done.out
    assert "None" not in done.out


def test_agents_are_listed(run: Run, hook: MosaicHook) -> None:
    rows = json.loads(run("agents", "list", "-o", "json").out)
    assert {row["agent_id"] for row in rows} == {agent.agent_id for agent in hook.list_agents()}
    assert set(rows[0]) == {"agent_id", "name", "updated_at"}
    assert yaml.safe_load(run("agents", "list", "--output", "yaml").out) == rows
    plain = run("agents", "list", "-o", "plain").out.splitlines()
    assert len(plain) == 1 + len(rows)


def test_an_exported_agent_can_be_compared_and_applied(run: Run, hook: MosaicHook, tmp_path: object) -> None:
    [agent] = [agent for agent in hook.list_agents() if agent.name == "Shorts maker"]
    text = run("agents", "export", agent.agent_id).out
    assert yaml.safe_load(text) == hook.export_agent(agent.agent_id)
    with_ids = yaml.safe_load(run("agents", "export", "--node-ids", agent.agent_id).out)
    assert all("node_id" in node for node in with_ids["nodes"].values())


def test_runs_are_listed_by_agent_status_and_limit(run: Run, hook: MosaicHook, mosaic_emulator: Emulator) -> None:
    mosaic_emulator.configure(hold_runs=True)
    ids = [hook.run_agent(AGENT) for _ in range(3)]
    other = hook.run_agent(mosaic_emulator.agent_id, video_urls=[VIDEO])
    hook.cancel_run(ids[0])

    def listed(*options: str) -> set[str]:
        return {row["run_id"] for row in json.loads(run("runs", "list", *options, "-o", "json").out)}

    assert listed() == {*ids, other}
    assert listed("--agent", AGENT) == set(ids)
    assert listed("--agent", AGENT, "--status", "running") == set(ids[1:])
    assert listed("--status", "running,cancelled") == {*ids, other}
    assert len(listed("--limit", "2")) == 2
    assert listed("--limit", "0") == {*ids, other}
    assert listed("--agent", AGENT, "--status", "failed") == set()
    assert run("runs", "list", "--status", "failed").out.strip() == "No data found"


def test_a_run_is_shown_with_its_errors_and_outputs_and_without_links(
    run: Run, hook: MosaicHook, mosaic_emulator: Emulator
) -> None:
    mosaic_emulator.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic_emulator.finish_run(run_id)
    [shown] = json.loads(run("runs", "show", run_id, "-o", "json").out)
    assert (shown["run_id"], shown["agent_id"], shown["status"]) == (run_id, AGENT, "completed")
    assert shown["output_ids"] == hook.get_run(run_id).output_ids
    assert shown["errors"] == []
    table = run("runs", "show", run_id).out
    assert "://" not in table
    assert shown["output_ids"][0] in table


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["runs", "show", "no-such-run"], "Could not read run 'no-such-run'"),
        (["agents", "export", "a b"], "agent_id='a b'"),
        (["runs", "list", "--agent", "a b"], "agent_id='a b'"),
        (["agents", "diff", "nothing.yaml"], "there is no such file"),
        (["whoami", "--conn-id", "missing_conn"], "mosaic_conn_id='missing_conn'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_to_three_lines(
    run: Run, hook: MosaicHook, database: None, arguments: list[str], text: str
) -> None:
    done = run(*arguments)
    assert (done.status, done.out) == (1, "")
    assert text in done.err
    assert 1 <= len(done.err.splitlines()) <= 3
    assert "Traceback" not in done.err


def test_a_refused_key_is_an_error_without_the_key(
    run: Run, mosaic_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "mosaic", "host": mosaic_emulator.url, "password": "mk_wrong_and_secret"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    done = run("agents", "list")
    assert done.status == 1
    assert "401" in done.err
    assert "wrong_and_secret" not in done.err + done.out


def test_markup_and_control_characters_of_a_server_are_shown_as_text(
    run: Run, hook: MosaicHook, mosaic_emulator: Emulator
) -> None:
    hook.create_agent(name="[red]A[/nothing] \x1b[2J:smile:")
    done = run("agents", "list")
    assert done.status == 0
    assert "[red]A[/nothing]" in done.out
    assert "\x1b" not in done.out
    assert ":smile:" in done.out


def test_wrong_usage_has_status_2(run: Run) -> None:
    done = run("runs", "list", "--limit", "-1")
    assert done.status == 2
    assert "invalid positive int value: '-1'" in done.err
