"""The HTTP edge: parse, call, render; no decisions."""
