"""Commands that change something ask first, and say what it means for money."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml  # type: ignore[import-untyped]
from mosaic_emulator import Emulator

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.agents_as_code.apply import AgentApply
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks import run_cancels

from .conftest import Result

Run = Callable[..., Result]
AGENT = "a0000000-0000-4000-8000-000000000004"


@pytest.fixture
def definition(hook: MosaicHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an agent that does not exist yet."""
    # The check for duplicate agents does not wait.
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)
    [agent] = [agent for agent in hook.list_agents() if agent.name == "Shorts maker"]
    file = tmp_path / "agent.yaml"
    file.write_text(yaml.safe_dump({**hook.export_agent(agent.agent_id), "name": "Made by hand"}))
    return file


def posts(mosaic: Emulator) -> list[str]:
    return [name for name in mosaic.counts().requests if not name.startswith("GET ")]


def test_diff_and_apply(run: Run, hook: MosaicHook, mosaic_emulator: Emulator, definition: Path) -> None:
    file = str(definition)
    differs = run("agents", "diff", file)
    assert differs.status == 3
    assert 'name: "Made by hand"' in differs.out
    assert run("agents", "apply", "--dry-run", file).out == differs.out
    assert posts(mosaic_emulator) == []

    for answer in (None, "n", ""):
        refused = run("agents", "apply", file, answer=answer)
        assert refused.status == 1
        assert refused.out.startswith(differs.out)
        assert "Nothing was sent." in refused.err
    assert posts(mosaic_emulator) == []

    applied = run("agents", "apply", file, answer="y")
    assert (applied.status, applied.err) == (0, "")
    [agent] = [agent for agent in hook.list_agents() if agent.name == "Made by hand"]
    assert f"Agent '{agent.agent_id}' matches its definition." in applied.out

    # Nothing differs, so nothing is asked.
    assert run("agents", "diff", file).status == 0
    assert run("agents", "apply", file).status == 0

    # By id, an agent with another name becomes this one.
    other = hook.create_agent(name="Another").agent_id
    assert run("agents", "diff", file, "--agent-id", other).status == 3
    assert run("agents", "apply", "--yes", file, "--agent-id", other).status == 0
    assert hook.get_agent(other).agent.name == "Made by hand"


@pytest.mark.parametrize(
    ("old", "new"),
    [("Made by hand", "Made by another hand"), ("at the end", "at the start")],
    ids=["name", "end of a long param"],
)
def test_apply_sends_only_what_the_user_confirmed(
    run: Run, mosaic_emulator: Emulator, definition: Path, old: str, new: str
) -> None:
    added = {"tile": "Rough Cut", "params": {"prompt": f"{'Cut it. ' * 40}Smile at the end."}}
    content = yaml.safe_load(definition.read_text())
    definition.write_text(yaml.safe_dump({**content, "nodes": {**content["nodes"], "added": added}}, width=1_000))

    def edit_and_agree() -> str:
        definition.write_text(definition.read_text().replace(old, new))
        return "y"

    refused = run("agents", "apply", str(definition), answer=edit_and_agree)
    assert refused.status == 1
    assert "has changed since. Nothing was sent." in refused.err
    assert posts(mosaic_emulator) == []


def test_apply_names_an_agent_that_was_created_at_the_same_moment(
    run: Run, hook: MosaicHook, mosaic_emulator: Emulator, definition: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic_emulator.configure(timestamps="microseconds")
    other: list[str] = []
    create = AgentApply.create

    def create_both(apply: AgentApply) -> str:
        created = create(apply)
        other.append(hook.create_agent(name="Made by hand").agent_id)
        return created

    monkeypatch.setattr(AgentApply, "create", create_both)
    applied = run("agents", "apply", "--yes", str(definition))
    assert applied.status == 0
    assert f"Other agents have its name: {other[0]}." in applied.out


def test_cancel_and_resume(run: Run, hook: MosaicHook, mosaic_emulator: Emulator) -> None:
    mosaic_emulator.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    refused = run("runs", "cancel", run_id, answer="n")
    assert refused.status == 1
    assert "no refund" in refused.out
    assert hook.get_run(run_id).status == "running"

    interrupted = run("runs", "cancel", run_id, answer=KeyboardInterrupt())
    assert interrupted.status == 1
    assert "Interrupted." in interrupted.err
    assert hook.get_run(run_id).status == "running"

    done = run("runs", "cancel", run_id, answer="yes")
    assert (done.status, done.err) == (0, "")
    assert "is cancelled" in done.out
    assert hook.get_run(run_id).status == "cancelled"
    again = run("runs", "cancel", run_id, "--yes")
    assert (again.status, again.err) == (0, "")
    assert "had ended already, as cancelled" in again.out

    refused = run("runs", "resume", run_id, answer="n")
    assert refused.status == 1
    assert "does not document what that costs" in refused.out
    assert hook.get_run(run_id).status == "cancelled"
    done = run("runs", "resume", run_id, "-y")
    assert (done.status, done.err) == (0, "")
    assert f"Resumed run '{run_id}'" in done.out
    assert hook.get_run(run_id).status == "running"


def test_accepted_cancel_of_a_run_that_cannot_be_read_names_the_risk(
    run: Run, hook: MosaicHook, mosaic_emulator: Emulator
) -> None:
    mosaic_emulator.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    mosaic_emulator.inject("forbidden", method="GET", path="/agent_run/{run_id}", skip=1, times=None)
    done = run("runs", "cancel", run_id, "--yes")
    assert (done.status, done.err) == (0, "")
    assert f"Mosaic accepted the cancel of run '{run_id}', but the run could not be read since." in done.out
    assert "It may cost credits" in done.out


def test_cancel_that_stops_nothing_fails(
    run: Run, hook: MosaicHook, mosaic_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_cancels, "time", SimpleNamespace(sleep=lambda seconds: None))
    mosaic_emulator.configure(hold_runs=True, cancel_terminal_status=200)
    run_id = hook.run_agent(AGENT)
    # The emulator finds nothing to cancel in a run that has ended. Its reads show the run as running.
    mosaic_emulator.finish_run(run_id)
    mosaic_emulator.inject("unknown_status", method="GET", path="/agent_run/{run_id}", status="running", times=None)
    done = run("runs", "cancel", run_id, "--yes")
    assert done.status == 1
    assert f"Mosaic found nothing to cancel in run '{run_id}'" in done.err
    assert "still running" in done.err
