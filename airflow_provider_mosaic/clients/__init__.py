"""Two thin transports for the calls of :mod:`airflow_provider_mosaic.api`, and streams of files: no Airflow here."""
