"""
What a task does with Mosaic over its whole life: tries, deferrals, kills and clears.

The operators and sensors are Airflow's face of this; they load it when they run, not when their DAG file is parsed.
"""
