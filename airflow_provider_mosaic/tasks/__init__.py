"""
What a task does with Mosaic over its attempts, deferrals, kills and clears.

Operators and sensors load these modules when they run, not when their DAG file is parsed.
"""
