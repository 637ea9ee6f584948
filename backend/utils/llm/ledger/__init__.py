"""What every attempt used, cost and came to, as one record, and where records go."""
