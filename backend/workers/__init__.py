"""Several processes that serve on one port: a supervisor, and its workers."""
