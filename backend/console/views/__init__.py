"""The content of each view, as frozen values: templates only lay it out, and the JSON says the same."""
