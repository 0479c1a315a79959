"""Kills and lost answers on a real Airflow, and what the local Mosaic counted afterwards."""
