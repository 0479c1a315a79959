"""The command about webhooks."""

from __future__ import annotations

import sys
from argparse import Namespace

from airflow_provider_mosaic import webhook_address
from airflow_provider_mosaic.cli.command import command


@command
def webhook_url(args: Namespace) -> None:
    """Print the address of the receiver inside Airflow for a connection. It is a secret."""
    sys.stdout.write(f"{webhook_address.webhook_url(args.conn_id)}\n")
