"""Agents: a model in a loop with tools, which asks a person before anything that changes something."""
