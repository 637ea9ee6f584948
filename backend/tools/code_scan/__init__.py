"""Scans a code base for models called by name, and makes a first table of them.

Files are found (`sources`) and Python is parsed, never imported (`modules`). Calls that make a model are known by their
names (`constructors`) and found with what is done with them (`sites`); their arguments are read as far as they are
written there (`values`), and become features with chains (`features`), beside those of configurations of LiteLLM and
TensorZero (`scan`). Keys are told by the place where they stand, and never by their value.
"""

from backend.tools.code_scan.scan import scan

__all__ = ["scan"]
