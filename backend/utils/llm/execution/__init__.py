"""Executes calls on their routes. One attempt loop sends all requests of a call and owns all retries."""
