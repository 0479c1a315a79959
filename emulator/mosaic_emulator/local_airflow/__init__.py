"""A real Airflow on this machine, started from the current environment: for the demo and for tests."""
