"""The version of the facade, for a project that copied it."""

VERSION = "0.1.0"
