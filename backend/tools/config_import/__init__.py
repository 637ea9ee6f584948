"""Turns a configuration of LMI, LiteLLM or TensorZero into a table, and reports everything that was not imported.

A file is read (`reading`) and turned into features with chains, from the shapes of LMI (`shapes`, `router`), LiteLLM's proxy
(`litellm_proxy`) or TensorZero (`tensorzero`). Each model's name, account and settings are translated (`names`, `accounts`,
`addresses`, `settings`), accounts become providers (`providers`), settings are divided between features and endpoints
(`table`), and all is assembled (`assembly`). Nothing is dropped silently: every key of the input that is not null is in the
table or in a finding. No table and no finding contains a secret.
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
from backend.tools.config_import.litellm_models import deployment_fields
from backend.tools.config_import.litellm_proxy import deployments
from backend.tools.config_import.nodes import Node, Unknown
from backend.tools.config_import.origins import CODE
from backend.tools.config_import.reading import UnusableInputError, read
from backend.tools.config_import.shapes import identifier
from backend.tools.config_import.specs import Config, Group, Spec

__all__ = [
    "CODE",
    "SYSTEMS",
    "Config",
    "Finding",
    "Findings",
    "Group",
    "Import",
    "Node",
    "Spec",
    "System",
    "Unknown",
    "UnusableInputError",
    "assemble",
    "deployment_fields",
    "deployments",
    "identifier",
    "import_config",
    "import_file",
    "read",
    "read_configs",
    "system_of",
]
