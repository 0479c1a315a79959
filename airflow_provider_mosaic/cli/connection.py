"""The commands about a connection: the owner of its API key, and its webhooks."""

from __future__ import annotations

import sys
from argparse import Namespace
from contextlib import closing

from airflow_provider_mosaic import webhook_address
from airflow_provider_mosaic.cli.command import command, print_fields
from airflow_provider_mosaic.hooks.server_hook import ServerHook


@command
def whoami(args: Namespace) -> None:
    """Show the owner and the scopes of the API key."""
    with closing(ServerHook(args.conn_id)) as hook:
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


@command
def webhook_url(args: Namespace) -> None:
    """Print the address of the receiver inside Airflow for a connection. It is a secret."""
    sys.stdout.write(f"{webhook_address.webhook_url(args.conn_id, ServerHook.get_connection)}\n")
