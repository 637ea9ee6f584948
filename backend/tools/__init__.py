"""Tools for developers of Patchbay. No request is served by code from here."""
