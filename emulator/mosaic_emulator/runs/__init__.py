"""Runs: their state, the engine that drives them, inputs, rendering, webhooks."""
