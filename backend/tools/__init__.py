"""Tools for those who work on Patchbay. Nothing that serves a request is here."""
