"""Turns a configuration of Future House's LMI into a table, and tells everything that it could not take over.

A file is read (`reading`), its shape is told as features with chains (`shapes`, `router`), each model's name, account
and settings are translated (`names`, `accounts`, `settings`), accounts become providers (`providers`), and what is
wanted is settled between features and endpoints (`table`). Nothing is silent: every key of the input is in the table
or in a finding, unless it is null. No table and no finding holds a secret.
"""

from backend.tools.lmi_import.findings import Finding
from backend.tools.lmi_import.importer import Import, import_config, import_file
from backend.tools.lmi_import.reading import UnusableInputError

__all__ = ["Finding", "Import", "UnusableInputError", "import_config", "import_file"]
