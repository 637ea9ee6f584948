"""Libraries that the whole backend may use."""
