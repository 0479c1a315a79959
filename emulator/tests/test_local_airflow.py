"""The local Airflow, without its processes."""

from __future__ import annotations

from pathlib import Path

from mosaic_emulator.local_airflow.instance import AirflowInstance


def test_copied_dags_have_no_schedule_in_time(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "nightly.py").write_text('@dag(\n    schedule="0 2 * * *",\n    catchup=False,\n)\n')
    (dags / "after.py").write_text("@dag(schedule=[FINISHED])\n")
    airflow = AirflowInstance(tmp_path / "airflow", dags=[dags])
    assert (airflow.dags_folder / "nightly.py").read_text() == "@dag(\n    schedule=None,\n    catchup=False,\n)\n"
    assert (airflow.dags_folder / "after.py").read_text() == "@dag(schedule=[FINISHED])\n"
