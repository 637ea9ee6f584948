"""The ledger: a record of each attempt with usage, cost and outcome, and the sinks that store records."""
