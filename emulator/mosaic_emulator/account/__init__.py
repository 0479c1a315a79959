"""The organization: plan, credits, and the scopes of its API key."""
