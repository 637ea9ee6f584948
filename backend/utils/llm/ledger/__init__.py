"""The ledger: one record of each attempt with its usage, cost and outcome, and the sinks that keep records."""
