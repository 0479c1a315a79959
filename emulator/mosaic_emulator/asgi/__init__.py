"""The API's server: counts, logs and faults around the routes."""
