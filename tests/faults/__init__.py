"""Kill tasks and processes of a real Airflow at many points, and count the effects in the emulator."""
