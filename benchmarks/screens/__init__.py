"""Pictures of every page of the console, light, dark and narrow, empty and busy.

    PYTHONPATH=. .venv/bin/python -m benchmarks.screens [FOLDER]      # or: make screens

Takes a minute. Wants Chromium, node and npm, and gets playwright-core from the npm registry into `.benchmarks/screens`; without them it says so
and does nothing. The pictures are in `.benchmarks/screens/pictures` unless a folder is named. Exit code 1 if a page logs an error, fails to load
something, or is wider than its screen.
"""
