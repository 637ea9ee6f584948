"""Explains decisions: routes in words, estimates, retirements."""
