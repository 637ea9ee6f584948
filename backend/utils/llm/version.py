"""The version of the facade, for a project that it was lifted into."""

VERSION = "0.1.0"
