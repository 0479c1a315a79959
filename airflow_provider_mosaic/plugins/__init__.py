"""Mosaic's pages inside Airflow, in Airflow's API server."""
