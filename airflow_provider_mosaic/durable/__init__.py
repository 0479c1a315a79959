"""
Create an item once, wait for it, and continue over retries, clears and kills.

This package does not know what the items are in Mosaic.
"""
