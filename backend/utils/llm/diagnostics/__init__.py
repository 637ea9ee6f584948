"""Explains what was decided or would be: texts, estimates, lint of the table, retirements."""
