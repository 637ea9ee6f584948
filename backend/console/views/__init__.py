"""The content of each view, as frozen values: everything is decided here, so that templates only lay out, and JSON says the same."""
