"""
The lock of the actions on one run, over all API servers: an Airflow Variable that exists while an action is being sent.

The keys of Variables are unique in Airflow's database, so only one server can insert it. The functions block.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta, timezone

from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from airflow_provider_mosaic.api.redaction import one_line

log = logging.getLogger(__name__)

#: Longer than an action takes. If a server dies, its Variable remains, and is replaced after this time.
_LIFETIME = timedelta(minutes=3)
_DESCRIPTION = "An action on a Mosaic run is being sent. The Mosaic provider deletes this Variable."
# Without the class, whose values are encrypted.
_TABLE = Variable.__table__


def lock_variable(conn_id: str, run_id: str) -> str:
    """Return the key of a run's Variable. The ids may be longer than a key."""
    return f"mosaic_action.{hashlib.sha256(f'{conn_id} {run_id}'.encode()).hexdigest()[:32]}"


def acquire(key: str) -> str:
    """Insert the Variable, and return its value; an empty text if it existed."""
    now = datetime.now(timezone.utc)
    expiry = (now + _LIFETIME).isoformat()
    with create_session(scoped=False) as session:
        found = session.execute(select(_TABLE.c.id, _TABLE.c.val).where(_TABLE.c.key == key)).first()
        if found is not None and found.val < now.isoformat():
            # By its id: another server may have replaced it.
            session.execute(delete(_TABLE).where(_TABLE.c.id == found.id))
    try:
        with create_session(scoped=False) as session:
            session.execute(insert(_TABLE).values(key=key, val=expiry, description=_DESCRIPTION, is_encrypted=False))
    except IntegrityError:
        return ""
    return expiry


def release(key: str, expiry: str) -> None:
    """
    Delete the Variable, unless another action has replaced it.

    If that fails, log it: the action was sent, and its result matters more.
    """
    try:
        with create_session(scoped=False) as session:
            session.execute(delete(_TABLE).where(_TABLE.c.key == key, _TABLE.c.val == expiry))
    except SQLAlchemyError as error:
        why = one_line(str(error), longest=300)
        log.warning("Variable %s was not deleted: %s. Actions on its run are rejected for %s.", key, why, _LIFETIME)
