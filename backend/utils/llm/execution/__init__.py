"""Carries out what was decided: one loop of attempts, which owns all retries."""
