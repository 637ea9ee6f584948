"""Decides how a call is served: by which endpoints, in which order, and why others may not serve it."""
