"""The command ``mosaic-emulator demo``. Its DAG needs the provider and Airflow; nothing else imports them."""
