"""Decides how a call is served: who may, in which order, and why others may not."""
