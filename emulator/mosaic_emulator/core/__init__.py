"""Building blocks without state of Mosaic: clock, counters, faults, request log, responses."""
