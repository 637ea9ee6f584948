"""Where things are kept: implements the Protocols that inner rooms declare."""
