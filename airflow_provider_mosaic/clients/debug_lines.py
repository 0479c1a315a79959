"""
Links in the log lines of the HTTP library: at DEBUG urllib3 writes the target of each request, and its query signs it.

A logger is the process's own, so that what others ask for through urllib3 is written without its query too.
"""

from __future__ import annotations

import logging
import re

from airflow_provider_mosaic.api.redaction import MASK

_QUERY = re.compile(r"\?\S+")


class _WithoutQueries(logging.Filter):
    """Lets every line pass, with the queries of its links masked."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_QUERY.sub(f"?{MASK}", arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


_FILTER = _WithoutQueries()


def mask_queries() -> None:
    """Keep what signs links out of the lines that urllib3 writes; once or more often is the same."""
    logging.getLogger("urllib3.connectionpool").addFilter(_FILTER)
