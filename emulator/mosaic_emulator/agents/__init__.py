"""Agents: changes of their graph, and the parameters of tiles."""
