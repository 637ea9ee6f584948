"""The HTTP routes: each parses a request, calls the code that does the work, and renders the response."""
