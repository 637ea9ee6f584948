"""Files a conversation into one of the user's folders, chosen by a model.

The model is shown a short numbered list and answers with a number, so it cannot name a folder that does
not exist. A confident choice is accepted. Otherwise the folder of the conversation's category is used,
else the user's default folder, else the first. A user with folders always gets one of them, also when
the call fails; the result and the log say which case it was.
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
