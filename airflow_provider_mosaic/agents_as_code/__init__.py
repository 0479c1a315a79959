"""Agents as code: read a definition, compare it with the agent, send the difference, export an agent."""
