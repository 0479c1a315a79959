"""Create an item once, wait for it, and resume over retries, clears and kills, without any resource of Mosaic."""
