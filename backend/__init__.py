"""The backend: one monolith, one import root."""
