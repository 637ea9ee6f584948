"""Agents: a model calls tools in a loop, and a person approves each call that changes something."""
