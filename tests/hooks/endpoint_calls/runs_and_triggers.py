"""Runs and triggers."""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_mosaic.api.outcomes import run_outcome
from hooks.all_endpoints import CAPTIONS, TODAY, CallEnvironment, by_name

#: The emulator's agent that takes no input.
GENERATING = "a0000000-0000-4000-8000-000000000004"
CHANNEL = "UCabcdefghijklmnopqrstuv"
DRIVE = "d0000000-0000-4000-8000-000000000001"


# Runs


def run_agent(env: CallEnvironment) -> None:
    env.ids["run"] = env.api.run_agent(
        env.mosaic.agent_id,
        video_ids=[env.ids["video"]],
        update_params={env.ids["node"]: {"caption_style": "karaoke", "base_color": "#ffffff"}},
        callback_url=env.callback_url,
    )
    node = env.emulator_run("run")["nodes"][-1]
    assert node["params"] == {"caption_style": "karaoke", "base_color": "#ffffff"}


def get_run(env: CallEnvironment) -> None:
    run = env.wait_until(lambda: env.api.get_run(env.ids["run"]), lambda run: run_outcome(run).ended)
    assert (run.status, run.agent_id, run.needs_credits) == ("completed", env.mosaic.agent_id, False)
    assert run.node_status_counts.completed == 4
    assert run.started_at is not None
    assert run.errors == ()
    assert run.output_ids == env.emulator_run("run")["output_ids"] != []
    assert [bool(output.video_url and output.completed_at) for output in run.outputs] == [True]
    env.ids["output"] = run.output_ids[0]


def get_run_nodes(env: CallEnvironment) -> None:
    nodes = env.api.get_run_nodes(env.ids["run"])
    assert [(node.status, node.needs_credits, node.errors) for node in nodes] == [("completed", False, ())] * 4
    assert nodes[-1].original_node_id == env.ids["node"]
    assert nodes[-1].node_type.node_type_id == CAPTIONS
    env.mosaic.configure(hold_runs=True)
    short = env.ids["short"] = env.api.run_agent(GENERATING)
    env.mosaic.finish_run(short, "failed", message="Not enough credits", needs_credits=True)
    env.mosaic.configure(hold_runs=False)
    shown = env.settings["needs_credits_key"] != "absent"
    run = env.api.get_run(short)
    assert (run.status, run.status_message, run.needs_credits) == ("failed", "Not enough credits", shown)
    assert [message for error in run.errors for message in error.messages] == ["Not enough credits"]
    assert any(node.needs_credits for node in env.api.get_run_nodes(short)) == shown


def cancel_run(env: CallEnvironment) -> None:
    env.mosaic.configure(hold_runs=True)
    env.ids["held"] = env.api.run_agent(env.mosaic.agent_id, node_render_ids=[env.ids["output"]])
    cancelled = env.api.cancel_run(env.ids["held"])
    assert cancelled.run_id in (env.ids["held"], None)
    assert env.api.get_run(env.ids["held"]).status == "cancelled"
    assert env.mosaic.counts().runs_cancelled == 1


def resume_run(env: CallEnvironment) -> None:
    env.mosaic.configure(hold_runs=False)
    resumed = env.api.resume_run(env.ids["held"])
    assert (resumed.nodes_queued > 0) == (env.settings["success_status"] != 204)
    run = env.wait_until(lambda: env.api.get_run(env.ids["held"]), lambda run: run_outcome(run).ended)
    assert run.status == "completed"
    assert env.mosaic.counts().runs_resumed == 1


def list_runs(env: CallEnvironment) -> None:
    runs = {run.run_id: run for run in env.api.list_runs()}
    assert set(runs) == {env.ids[name] for name in ("run", "held", "short")}
    row = runs[env.ids["run"]]
    assert (row.status, row.agent_id, row.by_trigger) == ("completed", env.mosaic.agent_id, False)
    assert row.output_ids == [env.ids["output"]]
    own = env.api.list_runs(env.mosaic.agent_id, status=["completed", "failed"], created_from=TODAY - timedelta(days=1))
    assert {run.run_id for run in own} == {env.ids["run"], env.ids["held"]}


def list_pipeline_runs(env: CallEnvironment) -> None:
    rows = list(env.api.list_pipeline_runs(agent_id=env.mosaic.agent_id, status="completed"))
    assert {(row.id, row.status) for row in rows} == {(env.ids[name], "completed") for name in ("run", "held")}
    assert list(env.api.list_pipeline_runs(updated_from=TODAY + timedelta(days=1))) == []


def list_workspace_runs(env: CallEnvironment) -> None:
    rows = list(env.api.list_workspace_runs(agent_id=env.mosaic.agent_id, since=TODAY - timedelta(days=1)))
    assert {row.id for row in rows} == {env.ids["run"], env.ids["held"]}
    assert rows[0].as_row()["failed_nodes"] == []


def get_run_progress(env: CallEnvironment) -> None:
    progress = env.api.get_run_progress(env.ids["run"])
    assert progress.completed_node_percent == 100
    assert [tile.status for tile in progress.tiles] == ["completed"] * 4


def list_run_tasks(env: CallEnvironment) -> None:
    tasks = list(env.api.list_run_tasks(env.ids["run"]))
    assert len({task.id for task in tasks}) == len(tasks) == 3
    assert list(env.api.list_run_tasks(env.ids["run"], created_to=TODAY - timedelta(days=1))) == []
    assert {task.as_row()["progress"] for task in tasks} == {100}


def list_run_notifications(env: CallEnvironment) -> None:
    assert [row.status for row in env.api.list_run_notifications(env.ids["run"])] == ["delivered"]


def list_notification_configurations(env: CallEnvironment) -> None:
    rows = list(env.api.list_notification_configurations(env.ids["run"]))
    assert [row.as_row()["channels"] for row in rows] == [["email"]] * 4


# Triggers


def add_youtube_channels(env: CallEnvironment) -> None:
    added = env.api.add_youtube_channels(
        env.mosaic.agent_id, [CHANNEL, "@another"], trigger_callback_url=env.callback_url, min_seconds=60
    )
    if env.settings["add_channels_response"] == "rich" and env.settings["success_status"] != 204:
        assert added.channel_ids[0] == CHANNEL
    assert env.mosaic.counts().channels_added == 2


def list_triggers(env: CallEnvironment) -> None:
    [trigger] = env.api.list_triggers(env.mosaic.agent_id)
    assert len(trigger.youtube_channels) == 2
    assert CHANNEL in trigger.youtube_channels
    assert trigger.callback_url == env.callback_url
    assert trigger.filter_options == {"duration": {"min_seconds": 60}}
    env.ids["trigger"] = trigger.id


def list_trigger_runs(env: CallEnvironment) -> None:
    started = env.mosaic.fire_trigger(env.ids["trigger"], channel_id=CHANNEL, seconds=90)
    assert started is not None
    [run] = env.api.list_trigger_runs(env.ids["trigger"], created_from=TODAY - timedelta(days=1))
    assert run.run_id == started["run_id"]
    assert run.by_trigger or env.settings["optional_fields"] == "absent"
    env.ids["triggered"] = run.run_id


def remove_youtube_channels(env: CallEnvironment) -> None:
    env.api.remove_youtube_channels(env.mosaic.agent_id, [CHANNEL, "@another"])
    assert env.api.list_triggers(env.mosaic.agent_id) == ()


def list_storage_triggers(env: CallEnvironment) -> None:
    rows = list(env.api.list_storage_triggers())
    assert DRIVE in {row.id for row in rows}
    [own] = env.api.list_storage_triggers(agent_id=env.mosaic.agent_id)
    assert own.as_row()["agent_id"] == env.mosaic.agent_id


def list_watched_folders(env: CallEnvironment) -> None:
    assert {row.as_row()["is_active"] for row in env.api.list_watched_folders(DRIVE)} == {True, False}


def list_storage_events(env: CallEnvironment) -> None:
    assert all(row.id for row in env.api.list_storage_events(DRIVE))
    before = len(list(env.api.list_storage_events(DRIVE)))
    started = env.mosaic.fire_trigger(DRIVE, file_names=["one.mp4", "two.mp4"])
    assert started is not None
    env.ids["from folder"] = started["run_id"]
    assert len(list(env.api.list_storage_events(DRIVE))) == before + 2


def list_storage_batches(env: CallEnvironment) -> None:
    [batch] = [
        row for row in env.api.list_storage_batches(trigger_id=DRIVE) if row.agent_state_id == env.ids["from folder"]
    ]
    assert batch.stage
    assert batch.id is not None
    env.ids["batch"] = batch.id


def list_batch_items(env: CallEnvironment) -> None:
    assert len(list(env.api.list_batch_items(env.ids["batch"]))) == 2


def list_ingest_batches(env: CallEnvironment) -> None:
    rows = list(env.api.list_ingest_batches(since=TODAY - timedelta(days=365), status=["open", "failed"]))
    assert rows
    assert {row.status for row in rows} <= {"open", "failed"}


ENDPOINT_CALLS = by_name(
    run_agent,
    get_run,
    get_run_nodes,
    cancel_run,
    resume_run,
    list_runs,
    list_pipeline_runs,
    list_workspace_runs,
    get_run_progress,
    list_run_tasks,
    list_run_notifications,
    list_notification_configurations,
    add_youtube_channels,
    list_triggers,
    list_trigger_runs,
    remove_youtube_channels,
    list_storage_triggers,
    list_watched_folders,
    list_storage_events,
    list_storage_batches,
    list_batch_items,
    list_ingest_batches,
)
