"""The DAGs of test_dag_test.py: Airflow takes them only from its DAG folder."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_mosaic.operators import MosaicResumeRunOperator, MosaicRunAgentOperator, MosaicSocialPostOperator
from airflow_provider_mosaic.sensors import MosaicAvatarProfileSensor, MosaicRunSensor, MosaicSocialPostSensor

OUT_OF_NOTHING = "a0000000-0000-4000-8000-000000000004"
WAITING = {"poll_interval": 0.05, "deferrable": True}

GIVEN = "{{ dag_run.conf['given'] }}"

#: Every deferrable task.
CASES = {
    "run": lambda: MosaicRunAgentOperator(task_id="act", agent_id=OUT_OF_NOTHING, **WAITING),
    "resume": lambda: MosaicResumeRunOperator(task_id="act", run_id=GIVEN, **WAITING),
    "see_run": lambda: MosaicRunSensor(task_id="act", run_id=GIVEN, **WAITING),
    "post": lambda: MosaicSocialPostOperator(
        task_id="act", text="Hello", platforms=["x"], wait_for_completion=True, **WAITING
    ),
    "see_post": lambda: MosaicSocialPostSensor(task_id="act", post_id=GIVEN, **WAITING),
    "see_avatar": lambda: MosaicAvatarProfileSensor(task_id="act", avatar_profile_id=GIVEN, **WAITING),
}
for name, make in CASES.items():
    with DAG(f"deferred_{name}", schedule=None) as made:
        make()
    globals()[f"deferred_{name}"] = made

with DAG("too_long", schedule=None) as too_long:
    MosaicRunAgentOperator(task_id="run", agent_id=OUT_OF_NOTHING, timeout=timedelta(seconds=30), **WAITING)

with DAG("in_database", schedule=None) as in_database:
    MosaicRunAgentOperator(task_id="run", agent_id=OUT_OF_NOTHING, mosaic_conn_id="mosaic_in_database", **WAITING)
