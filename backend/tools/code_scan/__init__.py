"""Scans a code base for models called by name, and makes a first table of them.

Files are found (`sources`) and Python is parsed, never imported (`modules`). Calls that make a model are recognised by name
(`constructors`) and found together with their uses (`sites`). Their arguments are evaluated where possible without running the
code (`values`), and become features with chains (`features`), beside those from configurations of LiteLLM and TensorZero
(`scan`). A key is reported by its place in the code, never by its value.
"""

from backend.tools.code_scan.scan import scan_code_base

__all__ = ["scan_code_base"]
