"""A service that keeps notes."""
