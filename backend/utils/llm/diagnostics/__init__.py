"""Explains what was or would be decided: routes in words, estimates, findings on the table, retirements."""
