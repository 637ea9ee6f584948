"""Turns a configuration of LMI, LiteLLM or TensorZero into a table, and reports everything that was not imported.

A file is read (`reading`) and turned into features with chains, from the shapes of LMI (`shapes`, `router`), LiteLLM's proxy
(`litellm_proxy`) or TensorZero (`tensorzero`). Each model's name, account and settings are translated (`names`, `accounts`,
`addresses`, `settings`), accounts become providers (`providers`), settings are divided between features and endpoints
(`table`), and all is assembled (`assembly`). Nothing is dropped silently: every key of the input that is not null is in the
table or in a finding. No table and no finding contains a secret.
"""

from backend.tools.config_import.assembly import ImportResult, assemble_table
from backend.tools.config_import.findings import ImportFinding, ImportReport
from backend.tools.config_import.importer import (
    SYSTEMS,
    System,
    detect_system,
    import_config,
    import_file,
    read_imported_features,
)
from backend.tools.config_import.litellm_models import azure_deployment_fields
from backend.tools.config_import.litellm_proxy import read_litellm_features
from backend.tools.config_import.nodes import ConfigNode, UnknownValue
from backend.tools.config_import.origins import CODE
from backend.tools.config_import.reading import UnusableInputError, read_config_file
from backend.tools.config_import.shapes import to_feature_name
from backend.tools.config_import.specs import ImportedFeature, ModelGroup, ModelSpec

__all__ = [
    "CODE",
    "SYSTEMS",
    "ConfigNode",
    "ImportFinding",
    "ImportReport",
    "ImportResult",
    "ImportedFeature",
    "ModelGroup",
    "ModelSpec",
    "System",
    "UnknownValue",
    "UnusableInputError",
    "assemble_table",
    "azure_deployment_fields",
    "detect_system",
    "import_config",
    "import_file",
    "read_config_file",
    "read_imported_features",
    "read_litellm_features",
    "to_feature_name",
]
