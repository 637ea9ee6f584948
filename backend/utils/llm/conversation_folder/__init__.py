"""Files a conversation into one of a user's folders.

The model is shown a short numbered list and answers with a number, so it cannot name a folder that does not exist.
What it says is then judged: a confident choice stands, anything else falls back to the folder of the
conversation's category, then the user's default folder, then their first folder. A user who has folders always gets
one, also when the call fails; every result says which of these happened, and the same goes to the log.
"""

from .assign import aassign_conversation_to_folder, assign_conversation_to_folder
from .prompt import build_conversation_folder_context, build_folders_context
from .verdict import (
    FolderAssignment,
    FolderAssignmentResult,
    ValidationStatus,
    get_default_folder_id,
    validate_folder_assignment,
)

__all__ = [
    "FolderAssignment",
    "FolderAssignmentResult",
    "ValidationStatus",
    "aassign_conversation_to_folder",
    "assign_conversation_to_folder",
    "build_conversation_folder_context",
    "build_folders_context",
    "get_default_folder_id",
    "validate_folder_assignment",
]
