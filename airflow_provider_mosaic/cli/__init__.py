"""The command line: ``airflow mosaic``, or ``python -m airflow_provider_mosaic`` on every supported Airflow."""
