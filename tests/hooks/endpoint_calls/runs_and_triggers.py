"""Runs, from their start to what can be read of them, and the triggers that start them."""

from __future__ import annotations

from datetime import timedelta

from airflow_provider_mosaic.api.outcomes import run_outcome
from hooks.all_endpoints import CAPTIONS, TODAY, CallEnvironment, by_name

#: The emulator's agent that takes no input.
GENERATING = "a0000000-0000-4000-8000-000000000004"
CHANNEL = "UCabcdefghijklmnopqrstuv"
DRIVE = "d0000000-0000-4000-8000-000000000001"


# Runs


def run_agent(day: CallEnvironment) -> None:
    day.ids["run"] = day.api.run_agent(
        day.mosaic.agent_id,
        video_ids=[day.ids["video"]],
        update_params={day.ids["node"]: {"caption_style": "karaoke", "base_color": "#ffffff"}},
        callback_url=day.callback_url,
    )
    node = day.run_of("run")["nodes"][-1]
    assert node["params"] == {"caption_style": "karaoke", "base_color": "#ffffff"}


def get_run(day: CallEnvironment) -> None:
    run = day.until(lambda: day.api.get_run(day.ids["run"]), lambda run: run_outcome(run).ended)
    assert (run.status, run.agent_id, run.needs_credits) == ("completed", day.mosaic.agent_id, False)
    assert run.node_status_counts.completed == 4
    assert run.started_at is not None
    assert run.errors == ()
    assert run.output_ids == day.run_of("run")["output_ids"] != []
    assert [bool(output.video_url and output.completed_at) for output in run.outputs] == [True]
    day.ids["output"] = run.output_ids[0]


def get_run_nodes(day: CallEnvironment) -> None:
    nodes = day.api.get_run_nodes(day.ids["run"])
    assert [(node.status, node.needs_credits, node.errors) for node in nodes] == [("completed", False, ())] * 4
    assert nodes[-1].original_node_id == day.ids["node"]
    assert nodes[-1].node_type.node_type_id == CAPTIONS
    day.mosaic.configure(hold_runs=True)
    short = day.ids["short"] = day.api.run_agent(GENERATING)
    day.mosaic.finish_run(short, "failed", message="Not enough credits", needs_credits=True)
    day.mosaic.configure(hold_runs=False)
    told = day.settings["needs_credits_key"] != "absent"
    run = day.api.get_run(short)
    assert (run.status, run.status_message, run.needs_credits) == ("failed", "Not enough credits", told)
    assert [message for error in run.errors for message in error.messages] == ["Not enough credits"]
    assert any(node.needs_credits for node in day.api.get_run_nodes(short)) == told


def cancel_run(day: CallEnvironment) -> None:
    day.mosaic.configure(hold_runs=True)
    day.ids["held"] = day.api.run_agent(day.mosaic.agent_id, node_render_ids=[day.ids["output"]])
    stopped = day.api.cancel_run(day.ids["held"])
    assert stopped.run_id in (day.ids["held"], None)
    assert day.api.get_run(day.ids["held"]).status == "cancelled"
    assert day.mosaic.counts().runs_cancelled == 1


def resume_run(day: CallEnvironment) -> None:
    day.mosaic.configure(hold_runs=False)
    resumed = day.api.resume_run(day.ids["held"])
    assert (resumed.nodes_queued > 0) == (day.settings["success_status"] != 204)
    run = day.until(lambda: day.api.get_run(day.ids["held"]), lambda run: run_outcome(run).ended)
    assert run.status == "completed"
    assert day.mosaic.counts().runs_resumed == 1


def list_runs(day: CallEnvironment) -> None:
    everything = {run.run_id: run for run in day.api.list_runs()}
    assert set(everything) == {day.ids[name] for name in ("run", "held", "short")}
    row = everything[day.ids["run"]]
    assert (row.status, row.agent_id, row.by_trigger) == ("completed", day.mosaic.agent_id, False)
    assert row.output_ids == [day.ids["output"]]
    own = day.api.list_runs(day.mosaic.agent_id, status=["completed", "failed"], created_from=TODAY - timedelta(days=1))
    assert {run.run_id for run in own} == {day.ids["run"], day.ids["held"]}


def list_pipeline_runs(day: CallEnvironment) -> None:
    rows = list(day.api.list_pipeline_runs(agent_id=day.mosaic.agent_id, status="completed"))
    assert {(row.id, row.status) for row in rows} == {(day.ids[name], "completed") for name in ("run", "held")}
    assert list(day.api.list_pipeline_runs(updated_from=TODAY + timedelta(days=1))) == []


def list_workspace_runs(day: CallEnvironment) -> None:
    rows = list(day.api.list_workspace_runs(agent_id=day.mosaic.agent_id, since=TODAY - timedelta(days=1)))
    assert {row.id for row in rows} == {day.ids["run"], day.ids["held"]}
    assert rows[0].as_row()["failed_nodes"] == []


def get_run_progress(day: CallEnvironment) -> None:
    progress = day.api.get_run_progress(day.ids["run"])
    assert progress.completed_node_percent == 100
    assert [tile.status for tile in progress.tiles] == ["completed"] * 4


def list_run_tasks(day: CallEnvironment) -> None:
    tasks = list(day.api.list_run_tasks(day.ids["run"]))
    assert len({task.id for task in tasks}) == len(tasks) == 3
    assert list(day.api.list_run_tasks(day.ids["run"], created_to=TODAY - timedelta(days=1))) == []
    assert {task.as_row()["progress"] for task in tasks} == {100}


def list_run_notifications(day: CallEnvironment) -> None:
    assert [row.status for row in day.api.list_run_notifications(day.ids["run"])] == ["delivered"]


def list_notification_configurations(day: CallEnvironment) -> None:
    rows = list(day.api.list_notification_configurations(day.ids["run"]))
    assert [row.as_row()["channels"] for row in rows] == [["email"]] * 4


# Triggers, of YouTube and of folders


def add_youtube_channels(day: CallEnvironment) -> None:
    added = day.api.add_youtube_channels(
        day.mosaic.agent_id, [CHANNEL, "@another"], trigger_callback_url=day.callback_url, min_seconds=60
    )
    if day.settings["add_channels_answer"] == "rich" and day.settings["success_status"] != 204:
        assert added.channel_ids[0] == CHANNEL
    assert day.mosaic.counts().channels_added == 2


def list_triggers(day: CallEnvironment) -> None:
    [trigger] = day.api.list_triggers(day.mosaic.agent_id)
    assert len(trigger.youtube_channels) == 2
    assert CHANNEL in trigger.youtube_channels
    assert trigger.callback_url == day.callback_url
    assert trigger.filter_options == {"duration": {"min_seconds": 60}}
    day.ids["trigger"] = trigger.id


def list_trigger_runs(day: CallEnvironment) -> None:
    begun = day.mosaic.fire_trigger(day.ids["trigger"], channel_id=CHANNEL, seconds=90)
    assert begun is not None
    [run] = day.api.list_trigger_runs(day.ids["trigger"], created_from=TODAY - timedelta(days=1))
    assert run.run_id == begun["run_id"]
    assert run.by_trigger or day.settings["optional_fields"] == "absent"
    day.ids["triggered"] = run.run_id


def remove_youtube_channels(day: CallEnvironment) -> None:
    day.api.remove_youtube_channels(day.mosaic.agent_id, [CHANNEL, "@another"])
    assert day.api.list_triggers(day.mosaic.agent_id) == ()


def list_storage_triggers(day: CallEnvironment) -> None:
    rows = list(day.api.list_storage_triggers())
    assert DRIVE in {row.id for row in rows}
    [own] = day.api.list_storage_triggers(agent_id=day.mosaic.agent_id)
    assert own.as_row()["agent_id"] == day.mosaic.agent_id


def list_watched_folders(day: CallEnvironment) -> None:
    assert {row.as_row()["is_active"] for row in day.api.list_watched_folders(DRIVE)} == {True, False}


def list_storage_events(day: CallEnvironment) -> None:
    assert all(row.id for row in day.api.list_storage_events(DRIVE))
    before = len(list(day.api.list_storage_events(DRIVE)))
    begun = day.mosaic.fire_trigger(DRIVE, file_names=["one.mp4", "two.mp4"])
    assert begun is not None
    day.ids["from folder"] = begun["run_id"]
    assert len(list(day.api.list_storage_events(DRIVE))) == before + 2


def list_storage_batches(day: CallEnvironment) -> None:
    [batch] = [
        row for row in day.api.list_storage_batches(trigger_id=DRIVE) if row.agent_state_id == day.ids["from folder"]
    ]
    assert batch.stage
    assert batch.id is not None
    day.ids["batch"] = batch.id


def list_batch_items(day: CallEnvironment) -> None:
    assert len(list(day.api.list_batch_items(day.ids["batch"]))) == 2


def list_ingest_batches(day: CallEnvironment) -> None:
    rows = list(day.api.list_ingest_batches(since=TODAY - timedelta(days=365), status=["open", "failed"]))
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
