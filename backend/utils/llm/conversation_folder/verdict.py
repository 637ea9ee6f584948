"""Checks a model's choice of a folder, and replaces it where needed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, Field, create_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Folder = Mapping[str, Any]
    """``id`` and ``name``, and where known ``description``, ``is_default``, ``category_mapping``."""

CONFIDENCE_THRESHOLD = 0.7
INVALID_CHOICE_CONFIDENCE = 0.3
_REASONING = 160

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
    """The model's structured answer: the folder that it chose.

    The reasoning is the first field, because models choose better after writing down the reason.
    """

    reasoning: _Reasoning = ""
    folder_id: str = Field(max_length=128)
    confidence: _Confidence = 0.5


@dataclass(frozen=True, slots=True)
class FolderAssignmentResult:
    """The folder chosen for a conversation, and why.

    Attributes:
        folder_id: The id of one of the user's folders; None only if the user has none.
        confidence: From 0 to 1. 0 if no model answered, 0.3 if the model chose a folder that does not exist.
        reasoning: A sentence that is safe to show, never the text of an exception.
        validation_status: Whether the model's choice was accepted. If not, why, and what replaced it.
        receipt: The receipt of the call; None if no model answered.
        error: The code of the error; None if the call did not fail.
    """

    folder_id: str | None
    confidence: float
    reasoning: str
    validation_status: ValidationStatus
    receipt: Mapping[str, Any] | None = None
    error: str | None = None


def validate_folder_assignment(
    response: FolderAssignment,
    folders: Sequence[Folder],
    default_id: str | None,
    category_folder_id: str | None = None,
    threshold: float = CONFIDENCE_THRESHOLD,
) -> FolderAssignmentResult:
    """Accept the model's choice if it is confident and names an existing folder; otherwise replace it.

    The replacement is the category's folder, else the default folder, else the first folder. A folder that
    is not among ``folders`` is never returned; without any folders the result's ``folder_id`` is None.

    Args:
        response: The model's choice.
        folders: The user's folders.
        default_id: The id of the default folder; None if there is none.
        category_folder_id: The id of the folder for the conversation's category; None if there is none.
        threshold: The lowest confidence that is accepted.
    """
    known = response.folder_id in _ids(folders)
    if known and response.confidence >= threshold:
        return FolderAssignmentResult(
            response.folder_id, response.confidence, response.reasoning, validation_status="accepted"
        )
    fallback = choose_fallback_folder(folders, default_id, category_folder_id)
    if not known:
        reason = f"The choice was not one of the folders; {fallback.because}."
        return fallback.to_result(INVALID_CHOICE_CONFIDENCE, reason, "invalid_folder_id")
    reason = f"Confidence {response.confidence:.2f} is below {threshold:.2f}; {fallback.because}."
    return fallback.to_result(response.confidence, reason, "low_confidence")


def get_default_folder_id(folders: Iterable[Folder]) -> str | None:
    """Return the id of the first folder that is marked as default; None if there is none."""
    return next((folder["id"] for folder in folders if folder.get("is_default")), None)


@dataclass(frozen=True, slots=True)
class FallbackFolder:
    """The folder that replaces a model's choice.

    Attributes:
        folder_id: The id of the folder; None if the user has no folders.
        how: Whether it is the category's folder or a default.
        because: Why this folder was chosen, as a clause to show.
    """

    folder_id: str | None
    how: Literal["category_matched", "defaulted"]
    because: str

    def to_result(self, confidence: float, reasoning: str, status_prefix: str) -> FolderAssignmentResult:
        """Build the result that assigns this folder.

        Args:
            confidence: The model's confidence, or 0.
            reasoning: The reason to show.
            status_prefix: What was wrong with the model's choice: the first part of ``validation_status``.
        """
        status = cast("ValidationStatus", f"{status_prefix}_{self.how}")
        return FolderAssignmentResult(self.folder_id, confidence, reasoning, status)


def choose_fallback_folder(
    folders: Sequence[Folder], default_id: str | None, category_folder_id: str | None
) -> FallbackFolder:
    """Choose the folder that replaces the model's choice: the category's, else the default, else the first."""
    ids = _ids(folders)
    if category_folder_id in ids:
        return FallbackFolder(category_folder_id, "category_matched", "the category's folder was used")
    if default_id in ids:
        return FallbackFolder(default_id, "defaulted", "the default folder was used")
    if ids:
        return FallbackFolder(ids[0], "defaulted", "there is no default folder, so the first was used")
    return FallbackFolder(None, "defaulted", "there is no folder to use")


@lru_cache(maxsize=32)
def make_numbered_choice_model(count: int) -> type[FolderAssignment]:
    """Make a subclass of `FolderAssignment` whose ``folder_id`` is a number from 1 to ``count``.

    All its fields are required.
    """
    numbers: Any = Literal[tuple(str(number) for number in range(1, count + 1))]
    return create_model(
        "FolderAssignment",
        __base__=FolderAssignment,
        reasoning=(_Reasoning, ...),
        folder_id=(numbers, Field(description="The number of the folder")),
        confidence=(_Confidence, ...),
    )


def _ids(folders: Iterable[Folder]) -> list[str]:
    return [folder["id"] for folder in folders]
