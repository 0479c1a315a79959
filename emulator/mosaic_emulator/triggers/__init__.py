"""Triggers: YouTube channels and watched folders."""
