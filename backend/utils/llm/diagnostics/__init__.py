"""Explains what was or would be decided: routes in words, estimates, retirements."""
