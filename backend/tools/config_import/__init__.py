"""Turns a configuration of LMI, LiteLLM or TensorZero into a table, and tells everything that it could not take over.

A file is read (`reading`), and its shape is told as features with chains: LMI's (`shapes`, `router`), that of LiteLLM's
proxy (`litellm_proxy`), TensorZero's (`tensorzero`). Each model's name, account and settings are translated (`names`,
`accounts`, `addresses`, `settings`), accounts become providers (`providers`), what is wanted is settled between features
and endpoints (`table`), and the whole is put together (`assembly`). Nothing is silent: every key of the input is in the
table or in a finding, unless it is null. No table and no finding holds a secret.
"""

from backend.tools.config_import.assembly import Import, assemble
from backend.tools.config_import.findings import Finding, Findings
from backend.tools.config_import.importer import (
    SYSTEMS,
    System,
    import_config,
    import_file,
    read_configs,
    system_of,
)
from backend.tools.config_import.reading import UnusableInputError, read

__all__ = [
    "SYSTEMS",
    "Finding",
    "Findings",
    "Import",
    "System",
    "UnusableInputError",
    "assemble",
    "import_config",
    "import_file",
    "read",
    "read_configs",
    "system_of",
]
