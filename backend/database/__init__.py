"""Storage: implements the Protocols that inner rooms declare."""
