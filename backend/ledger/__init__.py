"""The ledger's way from a process to a store: written down before the answer is handed on, shipped once."""
