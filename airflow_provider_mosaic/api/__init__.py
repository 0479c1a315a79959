"""The Mosaic API itself: what can be called, what comes back, what it means. No Airflow here, and no sockets."""
