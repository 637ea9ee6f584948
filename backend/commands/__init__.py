"""Groups of commands, each in a module of its own; `backend.cli` puts them together."""
