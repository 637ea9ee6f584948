"""Clients that other people wrote, unmodified, each doing one text and one tool round through the service.

    PYTHONPATH=. .venv/bin/python -m benchmarks.clients    # or: make clients

Installs them from the npm registry into `.benchmarks/clients`, each with a home of its own, and prints a table in Markdown.
Exit code 1 if a round failed; without node and npm it says so and does nothing.
"""
