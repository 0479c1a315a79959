"""The commands about runs."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing
from itertools import islice

from airflow_provider_mosaic.api.arguments import id_key, raise_invalid, validate_id
from airflow_provider_mosaic.api.endpoints.runs import Run
from airflow_provider_mosaic.cli.command import (
    changing_command,
    command,
    confirm,
    print_fields,
    print_line,
    print_rows,
)
from airflow_provider_mosaic.cli.task_instances import find_task_instance, item_of, save_adoption
from airflow_provider_mosaic.hooks.server_hook import ServerHook
from airflow_provider_mosaic.tasks.run_cancels import cancel_and_read


@command
def runs_list(args: Namespace) -> None:
    """List the runs of all agents or of one."""
    with closing(ServerHook(args.conn_id)) as hook:
        runs = hook.list_runs(args.agent, status=args.status.split(",") if args.status else None)
        rows = [
            {
                "run_id": run.run_id,
                "agent_id": run.agent_id or args.agent,
                "status": run.status,
                "started_at": run.started_at,
                "nodes": run.node_status_counts,
            }
            for run in islice(runs, args.limit or None)
        ]
    print_rows(rows, args.output)


@command
def runs_show(args: Namespace) -> None:
    """Show the status, the errors and the outputs of a run. Links are signed, so they are not shown."""
    with closing(ServerHook(args.conn_id)) as hook:
        run = hook.get_run(args.mosaic_run_id)
    print_fields(
        {
            "run_id": run.run_id,
            "agent_id": run.agent_id,
            "status": run.status,
            "status_message": run.status_message,
            "started_at": run.started_at,
            "updated_at": run.updated_at,
            "needs_credits": run.needs_credits,
            "nodes": run.node_status_counts,
            "errors": [f"{each.original_node_id}: {message}" for each in run.errors for message in each.messages],
            "output_ids": run.output_ids,
        },
        args.output,
    )


@changing_command
def runs_cancel(args: Namespace) -> None:
    """Cancel a run, after the user confirmed it."""
    with closing(ServerHook(args.conn_id)) as hook:
        run = hook.get_run(args.mosaic_run_id)
        confirm(
            args,
            f"{_describe(run)} Mosaic documents no refund for a cancelled run. A task that waits for it fails without "
            "retries.",
        )
        result = cancel_and_read(hook, run.run_id)
    if result.error is not None:
        raise SystemExit(result.text)
    print_line(result.text)


@changing_command
def runs_resume(args: Namespace) -> None:
    """Resume a failed or cancelled run, after the user confirmed it."""
    with closing(ServerHook(args.conn_id)) as hook:
        run = hook.get_run(args.mosaic_run_id)
        confirm(
            args,
            f"{_describe(run)} Failed and unstarted nodes run again. Mosaic does not document what that costs. No task "
            "waits for the run: to give it back to a failed task, use `runs adopt` instead.",
        )
        resumed = hook.resume_run(run.run_id)
        print_line(f"Resumed run {run.run_id!r}. Nodes that are queued again: {resumed.nodes_queued}.")


@changing_command
def runs_adopt(args: Namespace) -> None:
    """Name the run, post, avatar profile or agent that a task continues with when it is cleared."""
    task = find_task_instance(args.dag_id, args.task_id, args.run_id, args.map_index)
    item = item_of(task, args.item)
    item_id = validate_id("mosaic_run_id", args.item_id)
    with closing(ServerHook(args.conn_id or task.conn_id or ServerHook.default_conn_name)) as hook:
        _validate_item(hook, item, item_id, agent_id=task.agent_id)
    save_adoption(task, item_id)
    noun = item.replace("_", " ")
    print_line(f"Airflow Variable {task.variable!r} names {noun} {item_id!r} for {task}.")
    print_line(f"Clear the task, and it continues with that {noun}. Until then, nothing happens.")


def _validate_item(hook: ServerHook, item: str, item_id: str, *, agent_id: str | None) -> None:
    """Raise if Mosaic does not have the item, or if it is a run of another agent than the task's."""
    if item == "post":
        hook.get_post(item_id)
    elif item == "avatar_profile":
        hook.get_avatar_profile(item_id)
    elif item == "agent":
        hook.get_agent(item_id)
    else:
        run = hook.get_run(item_id)
        if run.agent_id and agent_id and id_key(run.agent_id) != id_key(agent_id):
            raise_invalid(
                "mosaic_run_id",
                item_id,
                f"it is a run of agent {run.agent_id!r}, not of the task's {agent_id!r}.",
            )


def _describe(run: Run) -> str:
    agent = f" of agent {run.agent_id!r}" if run.agent_id else ""
    return f"Run {run.run_id!r}{agent} is {run.status}; nodes: {run.node_status_counts}."
