"""The commands about agents."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing
from typing import Any

from airflow_provider_mosaic.agents_as_code.apply import AppliedAgent
from airflow_provider_mosaic.agents_as_code.definition_yaml import definition_yaml
from airflow_provider_mosaic.api.redaction import listed, masked
from airflow_provider_mosaic.cli.command import changing_command, command, confirm, print_line, print_rows
from airflow_provider_mosaic.hooks.paths import read_definition
from airflow_provider_mosaic.hooks.server_hook import ServerHook

#: Exit status of ``agents diff`` if an apply would change something.
DIFFERS = 3


@command
def agents_list(args: Namespace) -> None:
    """List the agents."""
    with closing(ServerHook(args.conn_id)) as hook:
        rows = [
            {"agent_id": agent.agent_id, "name": agent.name, "updated_at": agent.updated_at}
            for agent in hook.list_agents()
        ]
    print_rows(rows, args.output)


@command
def agents_export(args: Namespace) -> None:
    """Print the definition of an agent as YAML."""
    with closing(ServerHook(args.conn_id)) as hook:
        # A definition is committed and shared. Mosaic knows the API key and could repeat it.
        sys.stdout.write(masked(definition_yaml(hook.export_agent(args.agent_id, node_ids=args.node_ids))))


@command
def agents_diff(args: Namespace) -> None:
    """Print what an apply would change, and exit with status 3 if there is anything."""
    with closing(ServerHook(args.conn_id)) as hook:
        plan = _apply(hook, args, read_definition(args.file), dry_run=True)
    _print_plan(plan)
    if _differs(plan):
        raise SystemExit(DIFFERS)


@changing_command
def agents_apply(args: Namespace) -> None:
    """Create an agent from its definition, or change what differs, after the user confirmed the changes."""
    with closing(ServerHook(args.conn_id)) as hook:
        plan = _apply(hook, args, read_definition(args.file), dry_run=True)
        _print_plan(plan)
        if args.dry_run or not _differs(plan):
            return
        confirm(args, "All later runs of the agent are made with these changes.")
        # The file may change again before the update.
        definition = read_definition(args.file)
        if _apply(hook, args, definition, dry_run=True) != plan:
            raise SystemExit("The agent or its definition has changed since. Nothing was sent. Run the command again.")
        applied = _apply(hook, args, definition, dry_run=False)
    print_line(f"Agent {applied.agent_id!r} matches its definition.")
    if applied.duplicates:
        # The log has a warning, which commands do not print.
        print_line(f"Other agents have its name: {listed(applied.duplicates)}. Delete those that are not needed.")


def _apply(hook: ServerHook, args: Namespace, definition: Any, *, dry_run: bool) -> AppliedAgent:
    return hook.apply_agent(definition, agent_id=args.agent_id, unknown_nodes=args.unknown_nodes, dry_run=dry_run)


def _differs(plan: AppliedAgent) -> bool:
    return plan.created or bool(plan.changes)


def _print_plan(plan: AppliedAgent) -> None:
    if plan.created:
        print_line("The agent does not exist yet. An apply creates it:")
    elif plan.changes:
        print_line(f"Agent {plan.agent_id!r} differs from its definition. An apply makes these changes:")
    else:
        print_line(f"Agent {plan.agent_id!r} matches its definition.")
    for change in plan.changes:
        print_line(f"  {change}")
    if plan.unknown:
        print_line(f"These nodes are not in the definition and are kept: {', '.join(plan.unknown)}.")
