"""Everything that calls learn and share in one process."""
