"""
### Report the credits that were used

It writes one JSON object a line for each tile of a day, ready for a warehouse, and returns the balance. A DAG run
reports the day before it (in UTC), also when it is cleared later; trigger the DAG with a `day` to report another one.

It starts no run; Mosaic documents no cost of reading. It uses the connection `mosaic_default` and the variable
`mosaic_costs`: the folder, or object storage prefix, for the files.
"""

import json
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, Variable, dag, task
from pendulum import from_format, instance

from airflow_provider_mosaic.hooks import MosaicHook


@dag(
    schedule="0 1 * * *",
    catchup=False,
    default_args={"retries": 2},
    tags=["mosaic"],
    doc_md=__doc__,
    params={"day": Param(None, type=["null", "string"], format="date")},
)
def mosaic_credits_used() -> None:
    @task
    def write_usage(**context: Any) -> str:
        chosen = context["params"]["day"]
        # A manual DAG run has no data interval; each DAG run has run_after.
        due = instance(context["dag_run"].run_after).in_timezone("UTC")
        day = from_format(chosen, "YYYY-MM-DD") if chosen else due.start_of("day").subtract(days=1)
        usage = MosaicHook().get_credits_usage(start_date=day, end_date=day.add(days=1).subtract(seconds=1))
        if usage.truncated:
            raise ValueError(f"Mosaic did not count all events of {day:%Y-%m-%d}. Request shorter periods.")
        if usage.total_credits_used != 0 and not usage.by_date_and_tile:
            raise ValueError(f"Mosaic's response for {day:%Y-%m-%d} has no rows by day and tile.")
        folder = ObjectStoragePath(Variable.get("mosaic_costs"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{day:%Y-%m-%d}.jsonl"
        path.write_text("".join(json.dumps(row.model_dump(mode="json")) + "\n" for row in usage.by_date_and_tile))
        return str(path)

    @task
    def balance() -> float | None:
        credits = MosaicHook().get_credits()
        return None if credits.unlimited else credits.balance

    write_usage() >> balance()


mosaic_credits_used()
