"""Asks a model for the folder of a conversation, synchronously and asynchronously."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOutputError, LLMError
from .prompt import SYSTEM, build_conversation_folder_context, build_folders_context, select_relevant_folders
from .verdict import (
    FolderAssignmentResult,
    choose_fallback_folder,
    get_default_folder_id,
    make_numbered_choice_model,
    validate_folder_assignment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from .verdict import Folder

FEATURE = "conv_folder"

log = logging.getLogger(__name__)


def assign_conversation_to_folder(
    title: str,
    overview: str,
    category: str,
    user_folders: Sequence[Folder],
    category_folder_id: str | None = None,
    *,
    llm: BaseChatModel | None = None,
) -> FolderAssignmentResult:
    """Let a model choose the folder for a conversation.

    If the call fails, the fallback folder is returned. For a user with at most one folder, no model is
    called.

    Args:
        title: The conversation's title.
        overview: The conversation's summary.
        category: The conversation's category.
        user_folders: The user's folders.
        category_folder_id: The id of the folder for this category; None if there is none.
        llm: The model to use; None for the model of the feature ``conv_folder``.
    """
    question = _Question.of(title, overview, category, user_folders, category_folder_id)
    if not question.has_choice:
        return _logged(_without_choice(user_folders), question)
    try:
        answer = question.runnable(llm or _default_llm()).invoke(question.messages)
        return _logged(question.judge(answer), question)
    except Exception as error:  # noqa: BLE001 - a folder is never worth the conversation
        return _logged(question.unavailable(error), question)


async def aassign_conversation_to_folder(
    title: str,
    overview: str,
    category: str,
    user_folders: Sequence[Folder],
    category_folder_id: str | None = None,
    *,
    llm: BaseChatModel | None = None,
) -> FolderAssignmentResult:
    """Asynchronous version of `assign_conversation_to_folder`."""
    question = _Question.of(title, overview, category, user_folders, category_folder_id)
    if not question.has_choice:
        return _logged(_without_choice(user_folders), question)
    try:
        answer = await question.runnable(llm or _default_llm()).ainvoke(question.messages)
        return _logged(question.judge(answer), question)
    except Exception as error:  # noqa: BLE001 - a folder is never worth the conversation
        return _logged(question.unavailable(error), question)


@dataclass(frozen=True, slots=True)
class _Question:
    """One conversation, the user's folders, and the folders that the model is shown."""

    folders: Sequence[Folder]
    shown: Sequence[Folder]
    category_folder_id: str | None
    text: str

    @classmethod
    def of(
        cls,
        title: str,
        overview: str,
        category: str,
        folders: Sequence[Folder],
        category_folder_id: str | None,
    ) -> _Question:
        conversation = build_conversation_folder_context(title, overview, category)
        shown = select_relevant_folders(folders, conversation, category_folder_id)
        text = f"{conversation}\n\nFolders:\n{build_folders_context(shown)}"
        return cls(folders, shown, category_folder_id, text)

    @property
    def has_choice(self) -> bool:
        return len(self.folders) > 1

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [("system", SYSTEM), ("human", self.text)]

    def runnable(self, llm: BaseChatModel) -> Any:
        return llm.with_structured_output(make_numbered_choice_model(len(self.shown)), include_raw=True)

    def judge(self, answer: Mapping[str, Any]) -> FolderAssignmentResult:
        receipt = answer["raw"].response_metadata.get("receipt")
        choice = answer["parsed"]
        if choice is None:
            failed = InvalidOutputError("The answer does not fit the schema.", feature=FEATURE)
            return replace(self.unavailable(failed), receipt=receipt)
        chosen = choice.model_copy(update={"folder_id": self.shown[int(choice.folder_id) - 1]["id"]})
        default_id = get_default_folder_id(self.folders)
        result = validate_folder_assignment(chosen, self.folders, default_id, self.category_folder_id)
        return replace(result, receipt=receipt)

    def unavailable(self, error: Exception) -> FolderAssignmentResult:
        code = error.code if isinstance(error, LLMError) else "internal_error"
        bug = None if isinstance(error, LLMError) else error
        log.warning("%s: no folder could be asked for: %s", FEATURE, code, exc_info=bug)
        fallback = choose_fallback_folder(
            self.folders, get_default_folder_id(self.folders), self.category_folder_id
        )
        result = fallback.to_result(0.0, f"No model could be asked; {fallback.because}.", "unavailable")
        return replace(result, error=code)


def _without_choice(folders: Sequence[Folder]) -> FolderAssignmentResult:
    if not folders:
        return FolderAssignmentResult(None, 0.0, "No folders available", "no_folders")
    return FolderAssignmentResult(folders[0]["id"], 1.0, "It is the only folder.", "accepted")


def _default_llm() -> BaseChatModel:
    from ..clients import get_llm

    return get_llm(FEATURE)


def _logged(result: FolderAssignmentResult, question: _Question) -> FolderAssignmentResult:
    facts = {"feature": FEATURE, "status": result.validation_status, "confidence": result.confidence}
    log.info("llm.folder_assigned", extra={**facts, "folders": len(question.folders)})
    return result
