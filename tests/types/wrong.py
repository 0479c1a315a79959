"""What a type checker must find, each in its own line (``python -m dev.type_check``)."""

from __future__ import annotations

from airflow_provider_mosaic.assets import finished_runs
from airflow_provider_mosaic.hooks import MosaicHook
from airflow_provider_mosaic.operators import (
    MosaicDownloadOutputsOperator,
    MosaicRunAgentOperator,
    MosaicSocialPostOperator,
)
from airflow_provider_mosaic.sensors import MosaicRunSensor

MosaicRunAgentOperator(task_id="a", agent_id=5)  # wrong
MosaicRunAgentOperator(task_id="b", agent_id="a", on_partial="failed")  # wrong
MosaicRunAgentOperator(task_id="c", agent_id="a", timeout="1h")  # wrong
MosaicRunAgentOperator(task_id="d", agent_id="a", video_ids=[5])  # wrong
MosaicDownloadOutputsOperator(task_id="e", run_id="r", destination="/d", include=["vidoe"])  # wrong
MosaicSocialPostOperator(task_id="f", text="t", platforms=["tiktokk"])  # wrong
MosaicRunSensor(task_id="g", run_id=None)  # wrong
finished_runs("a", status=["finished"])  # wrong

hook = MosaicHook()
hook.run_agent("a", video_id=["v"])  # wrong
hook.run_agent(agent_id=5)  # wrong
hook.create_post("t", platform="x")  # wrong
status = hook.get_run("r").statuss  # wrong
hook.upload_asset("/a.mp4", "movie")  # wrong
hook.start_upload("movie")  # wrong
hook.list_runs("a", statuss="failed")  # wrong
for run in hook.list_runs("a"):
    len(run)  # wrong
