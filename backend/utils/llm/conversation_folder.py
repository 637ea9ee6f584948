"""Which of a user's folders a conversation belongs in.

The model is shown a short numbered list and answers with a number, so it cannot name a folder that does not exist.
What it says is then judged: a confident choice stands, anything else falls back to the folder of the
conversation's category, then the user's default folder, then their first folder. A user who has folders always gets
one, also when the call fails; every result says which of these happened, and the same goes to the log.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, Field, create_model

from .errors import InvalidOutputError, LLMError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    Folder = Mapping[str, Any]
    """``id`` and ``name``, and where known ``description``, ``is_default`` and ``category_mapping``."""

log = logging.getLogger(__name__)

FEATURE = "conv_folder"
CONFIDENCE_THRESHOLD = 0.7
INVALID_CHOICE_CONFIDENCE = 0.3
MAX_FOLDERS_SHOWN = 20
_NAME, _DESCRIPTION, _TITLE, _CATEGORY, _OVERVIEW, _REASONING = 40, 80, 120, 40, 600, 160

ValidationStatus = Literal[
    "accepted",
    "invalid_folder_id_defaulted",
    "invalid_folder_id_category_matched",
    "low_confidence_defaulted",
    "low_confidence_category_matched",
    # No answer was there to judge:
    "no_folders",
    "unavailable_defaulted",
    "unavailable_category_matched",
]

_SYSTEM = (
    "You file conversations into folders. Choose the folder that fits the main theme. "
    "Choose another than the default only when it clearly matches. "
    "Give a confidence above 0.9 only to a clear match. Reason in one short sentence."
)


def _clamp(confidence: float) -> float:
    return 0.0 if math.isnan(confidence) else min(max(confidence, 0.0), 1.0)


def _shorten(reasoning: str) -> str:
    return reasoning[:_REASONING]


# Told to the model as bounds, and mended rather than refused when a model does not keep them: few providers enforce
# a float's range, and a confidence of 1.01 is no reason to lose a good answer.
_Confidence = Annotated[
    float, AfterValidator(_clamp), Field(json_schema_extra={"minimum": 0.0, "maximum": 1.0})
]
_Reasoning = Annotated[str, AfterValidator(_shorten), Field(json_schema_extra={"maxLength": _REASONING})]


class FolderAssignment(BaseModel):
    """A model's choice. The reasoning comes first: a choice is better when the reason is written before it."""

    reasoning: _Reasoning = ""
    folder_id: str = Field(max_length=128)
    confidence: _Confidence = 0.5


@dataclass(frozen=True, slots=True)
class FolderAssignmentResult:
    """Where the conversation goes, and why.

    Attributes:
        folder_id: One of the user's folders; ``None`` only when they have none.
        confidence: 0 to 1; 0 when no model was heard, 0.3 when its choice did not exist.
        reasoning: A sentence that is safe to show. Never the text of an exception.
        validation_status: What became of the model's answer.
        receipt: The receipt of the call, if one was answered.
        error: The code of what went wrong, if the call failed.
    """

    folder_id: str | None
    confidence: float
    reasoning: str
    validation_status: ValidationStatus
    receipt: Mapping[str, Any] | None = None
    error: str | None = None


def assign_conversation_to_folder(
    title: str,
    overview: str,
    category: str,
    user_folders: Sequence[Folder],
    category_folder_id: str | None = None,
    *,
    llm: BaseChatModel | None = None,
) -> FolderAssignmentResult:
    """Choose a folder. Never raises for a call that fails; no call is made for no folder or for one."""
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
    """`assign_conversation_to_folder`, awaited."""
    question = _Question.of(title, overview, category, user_folders, category_folder_id)
    if not question.has_choice:
        return _logged(_without_choice(user_folders), question)
    try:
        answer = await question.runnable(llm or _default_llm()).ainvoke(question.messages)
        return _logged(question.judge(answer), question)
    except Exception as error:  # noqa: BLE001 - a folder is never worth the conversation
        return _logged(question.unavailable(error), question)


def validate_folder_assignment(
    response: FolderAssignment,
    folders: Sequence[Folder],
    default_id: str | None,
    category_folder_id: str | None = None,
    threshold: float = CONFIDENCE_THRESHOLD,
) -> FolderAssignmentResult:
    """Let a confident choice of a known folder stand; replace any other one.

    The order is: the choice, the category's folder, the default folder, the first folder. A folder that is not among
    ``folders`` is never returned.
    """
    known = response.folder_id in _ids(folders)
    if known and response.confidence >= threshold:
        return FolderAssignmentResult(
            response.folder_id, response.confidence, response.reasoning, validation_status="accepted"
        )
    fallback = _fallback(folders, default_id, category_folder_id)
    if not known:
        reason = f"The choice was not one of the folders; {fallback.because}."
        return fallback.result(INVALID_CHOICE_CONFIDENCE, reason, "invalid_folder_id")
    reason = f"Confidence {response.confidence:.2f} is below {threshold:.2f}; {fallback.because}."
    return fallback.result(response.confidence, reason, "low_confidence")


def get_default_folder_id(folders: Iterable[Folder]) -> str | None:
    """The id of the first folder marked as default, if any is."""
    return next((folder["id"] for folder in folders if folder.get("is_default") is True), None)


def build_folders_context(folders: Sequence[Folder]) -> str:
    """One numbered line per folder. Names and descriptions are capped, and cannot break out of their line."""
    if not folders:
        return "There are no folders."
    return "\n".join(_folder_line(number, folder) for number, folder in enumerate(folders, start=1))


def build_conversation_folder_context(title: str, overview: str, category: str) -> str:
    """The conversation in three capped lines. The transcript is not needed."""
    return "\n".join(
        [
            f"Title: {_plain(title, _TITLE)}",
            f"Category: {_plain(category, _CATEGORY)}",
            f"Overview: {_plain(overview, _OVERVIEW)}",
        ]
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """One conversation and the folders it may go to, those shown to the model first among equals."""

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
        shown = _most_relevant(folders, conversation, category_folder_id)
        text = f"{conversation}\n\nFolders:\n{build_folders_context(shown)}"
        return cls(folders, shown, category_folder_id, text)

    @property
    def has_choice(self) -> bool:
        return len(self.folders) > 1

    @property
    def messages(self) -> list[tuple[str, str]]:
        return [("system", _SYSTEM), ("human", self.text)]

    def runnable(self, llm: BaseChatModel) -> Any:  # noqa: ANN401 - a runnable of LangChain's own loose type
        return llm.with_structured_output(_numbered_choice(len(self.shown)), include_raw=True)

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
        log.warning("llm.folder_unavailable", extra={"feature": FEATURE, "error": code}, exc_info=error)
        fallback = _fallback(self.folders, get_default_folder_id(self.folders), self.category_folder_id)
        result = fallback.result(0.0, f"No model could be asked; {fallback.because}.", "unavailable")
        return replace(result, error=code)


@dataclass(frozen=True, slots=True)
class _Fallback:
    folder_id: str | None
    how: Literal["category_matched", "defaulted"]
    because: str

    def result(self, confidence: float, reasoning: str, what: str) -> FolderAssignmentResult:
        status = cast("ValidationStatus", f"{what}_{self.how}")
        return FolderAssignmentResult(self.folder_id, confidence, reasoning, status)


def _fallback(folders: Sequence[Folder], default_id: str | None, category_folder_id: str | None) -> _Fallback:
    ids = _ids(folders)
    if category_folder_id in ids:
        return _Fallback(category_folder_id, "category_matched", "the category's folder was used")
    if default_id in ids:
        return _Fallback(default_id, "defaulted", "the default folder was used")
    if ids:
        return _Fallback(ids[0], "defaulted", "there is no default folder, so the first was used")
    return _Fallback(None, "defaulted", "there is no folder to use")


def _without_choice(folders: Sequence[Folder]) -> FolderAssignmentResult:
    if not folders:
        return FolderAssignmentResult(None, 0.0, "No folders available", "no_folders")
    return FolderAssignmentResult(folders[0]["id"], 1.0, "It is the only folder.", "accepted")


@lru_cache(maxsize=MAX_FOLDERS_SHOWN)
def _numbered_choice(count: int) -> type[FolderAssignment]:
    """A `FolderAssignment` that can only name one of the numbers shown, and leaves nothing out."""
    numbers: Any = Literal[tuple(str(number) for number in range(1, count + 1))]
    return create_model(
        "FolderAssignment",
        __base__=FolderAssignment,
        reasoning=(_Reasoning, ...),
        folder_id=(numbers, Field(description="The number of the folder")),
        confidence=(_Confidence, ...),
    )


def _most_relevant(
    folders: Sequence[Folder], conversation: str, category_folder_id: str | None
) -> Sequence[Folder]:
    """At most `MAX_FOLDERS_SHOWN`, in the user's order: the fallbacks, then those that share most words."""
    if len(folders) <= MAX_FOLDERS_SHOWN:
        return folders
    fallbacks = {category_folder_id, get_default_folder_id(folders)}
    words = _words(conversation)

    def rank(position: int) -> tuple[bool, int, int]:
        folder = folders[position]
        shared = words & _words(f"{folder['name']} {folder.get('description') or ''}")
        return folder["id"] not in fallbacks, -len(shared), position

    chosen = sorted(range(len(folders)), key=rank)[:MAX_FOLDERS_SHOWN]
    return [folders[position] for position in sorted(chosen)]


def _folder_line(number: int, folder: Folder) -> str:
    line = f"{number}. {_quoted(folder['name'], _NAME)}"
    if folder.get("description"):
        line += f" -> {_quoted(folder['description'], _DESCRIPTION)}"
    if folder.get("category_mapping"):
        line += f" [home for {_plain(folder['category_mapping'], _CATEGORY)} conversations]"
    return line + " DEFAULT" * (folder.get("is_default") is True)


def _quoted(text: str, limit: int) -> str:
    return json.dumps(_plain(text, limit), ensure_ascii=False)


def _plain(text: str, limit: int) -> str:
    """Text on one line, without control characters, at most ``limit`` long."""
    printable = "".join(character if character.isprintable() else " " for character in str(text)[: limit * 4])
    return " ".join(printable.split())[:limit]


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip(".,:;!?\"'()[]") for word in text.casefold().split())


def _ids(folders: Iterable[Folder]) -> list[str]:
    return [folder["id"] for folder in folders]


def _default_llm() -> BaseChatModel:
    from .clients import get_llm

    return get_llm(FEATURE)


def _logged(result: FolderAssignmentResult, question: _Question) -> FolderAssignmentResult:
    facts = {"feature": FEATURE, "status": result.validation_status, "confidence": result.confidence}
    log.info("llm.folder_assigned", extra={**facts, "folders": len(question.folders)})
    return result
