"""Send the calls of :mod:`airflow_provider_mosaic.api`, and transfer files. Nothing here imports Airflow."""
