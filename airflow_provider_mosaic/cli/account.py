"""The command about the owner of the API key."""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing

from airflow_provider_mosaic.cli.command import CommandHook, command, print_fields


@command
def whoami(args: Namespace) -> None:
    """Show the owner and the scopes of the API key."""
    with closing(CommandHook(args.conn_id)) as hook:
        owner = hook.whoami()
        print_fields(
            {
                "connection": args.conn_id,
                "base_url": hook.access.base_url,
                "owner": owner.name,
                "organization_id": owner.organization_id,
                "workspace_id": hook.access.workspace_id,
                "scopes": ["all"] if owner.scopes is None else list(owner.scopes),
            },
            args.output,
        )
