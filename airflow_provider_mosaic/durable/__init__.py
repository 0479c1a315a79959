"""Create once, wait, and resume over retries, clears and kills. Knows Airflow, and no resource of Mosaic."""
