"""Executes calls on their routes: one loop of attempts, which owns all retries."""
