"""
Definitions of the commands.

Airflow imports this module for every ``airflow`` command. A command's own module is imported when it is run.
"""

from __future__ import annotations

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    CLICommand,
    GroupCommand,
    lazy_load_command,
    positive_int,
)

_CONN_ID = Arg(("--conn-id",), help="The connection (default: mosaic_default)", default="mosaic_default")
_READ = (_CONN_ID, ARG_VERBOSE)
_SHOW = (*_READ, ARG_OUTPUT)
_CHANGE = (*_READ, ARG_YES)

_AGENT_ID = Arg(("agent_id",), help="The id of the agent")
_MOSAIC_RUN_ID = Arg(("mosaic_run_id",), help="The id of the run in Mosaic")
_DEFINITION = (
    Arg(("file",), help="A YAML or JSON file, or its URI in object storage"),
    Arg(("--agent-id",), help="The agent (default: the agent with the name in the definition)"),
    Arg(
        ("--unknown-nodes",),
        help="What to do with nodes that are not in the definition: keep or remove (default: keep)",
        choices=("keep", "remove"),
        default="keep",
    ),
)

_AGENTS = (
    ActionCommand(
        name="list",
        help="List the agents",
        func=lazy_load_command("airflow_provider_mosaic.cli.agents.agents_list"),
        args=_SHOW,
    ),
    ActionCommand(
        name="export",
        help="Print the definition of an agent as YAML",
        func=lazy_load_command("airflow_provider_mosaic.cli.agents.agents_export"),
        args=(
            _AGENT_ID,
            Arg(
                ("--node-ids",),
                help="Include the ids of the nodes. The definition then fits only this agent",
                action="store_true",
            ),
            *_READ,
        ),
    ),
    ActionCommand(
        name="diff",
        help="Print what an apply would change",
        description="Print what an apply would change. The exit status is 0 if nothing differs, and 3 otherwise.",
        func=lazy_load_command("airflow_provider_mosaic.cli.agents.agents_diff"),
        args=(*_DEFINITION, *_READ),
    ),
    ActionCommand(
        name="apply",
        help="Create an agent from its definition, or change what differs",
        func=lazy_load_command("airflow_provider_mosaic.cli.agents.agents_apply"),
        args=(
            *_DEFINITION,
            Arg(("-n", "--dry-run"), help="Print the changes and send none", action="store_true"),
            *_CHANGE,
        ),
    ),
)
_RUNS = (
    ActionCommand(
        name="list",
        help="List the runs of all agents or of one",
        func=lazy_load_command("airflow_provider_mosaic.cli.runs.runs_list"),
        args=(
            Arg(("--agent",), help="Only runs of the agent with this id"),
            Arg(
                ("--status",),
                help=(
                    "Only runs with this status; several, separated by commas: running, completed, partial_complete, "
                    "failed, cancelled"
                ),
            ),
            Arg(
                ("--limit",),
                help="The most runs; 0 for all (default: 25)",
                type=positive_int(allow_zero=True),
                default=25,
            ),
            *_SHOW,
        ),
    ),
    ActionCommand(
        name="show",
        help="Show the status, the errors and the outputs of a run",
        func=lazy_load_command("airflow_provider_mosaic.cli.runs.runs_show"),
        args=(_MOSAIC_RUN_ID, *_SHOW),
    ),
    ActionCommand(
        name="cancel",
        help="Cancel a run",
        func=lazy_load_command("airflow_provider_mosaic.cli.runs.runs_cancel"),
        args=(_MOSAIC_RUN_ID, *_CHANGE),
    ),
    ActionCommand(
        name="resume",
        help="Resume a failed or cancelled run",
        func=lazy_load_command("airflow_provider_mosaic.cli.runs.runs_resume"),
        args=(_MOSAIC_RUN_ID, *_CHANGE),
    ),
    ActionCommand(
        name="adopt",
        help="Name the run, post, avatar profile or agent that a task continues with",
        description=(
            "Name the run, post, avatar profile or agent that a task continues with when it is cleared. It is saved in "
            "an Airflow Variable. Nothing is changed in Mosaic."
        ),
        func=lazy_load_command("airflow_provider_mosaic.cli.runs.runs_adopt"),
        args=(
            Arg(("dag_id",), help="The id of the DAG"),
            Arg(("task_id",), help="The id of the task, with its task group"),
            Arg(("run_id",), help="The id of the DAG run"),
            Arg(("item_id",), metavar="mosaic_run_id", help="The id in Mosaic"),
            Arg(("--map-index",), help="The map index of a mapped task", type=int, default=-1),
            Arg(
                ("--item",),
                help="What the id names: run, post, avatar_profile or agent (default: what the task creates)",
                choices=("run", "post", "avatar_profile", "agent"),
            ),
            Arg(("--conn-id",), help="The connection (default: that of the task)"),
            ARG_VERBOSE,
        ),
    ),
)
_WEBHOOK = (
    ActionCommand(
        name="url",
        help="Print the address to which Mosaic sends the webhooks of a connection. It is a secret",
        func=lazy_load_command("airflow_provider_mosaic.cli.connection.webhook_url"),
        args=(
            Arg(("conn_id",), help="The connection (default: mosaic_default)", nargs="?", default="mosaic_default"),
            ARG_VERBOSE,
        ),
    ),
)


def get_commands() -> list[CLICommand]:
    """Return the commands that Airflow adds to ``airflow``."""
    return [
        GroupCommand(
            name="mosaic",
            help="Work with Mosaic's agents, runs and webhooks",
            subcommands=(
                ActionCommand(
                    name="whoami",
                    help="Show the owner and the scopes of the API key",
                    func=lazy_load_command("airflow_provider_mosaic.cli.connection.whoami"),
                    args=_SHOW,
                ),
                GroupCommand(name="agents", help="List, export and apply agents", subcommands=_AGENTS),
                GroupCommand(name="runs", help="List, show, cancel, resume and adopt runs", subcommands=_RUNS),
                GroupCommand(name="webhook", help="Receive webhooks in Airflow", subcommands=_WEBHOOK),
            ),
        )
    ]
