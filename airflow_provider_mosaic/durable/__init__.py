"""Create an item once, wait for it, and resume over retries, clears and kills. Knows Airflow, and no resource of Mosaic."""
