"""The state that the calls of one process share: limits, load, latency, health, budgets and experiments."""
