"""What the whole backend may use."""
