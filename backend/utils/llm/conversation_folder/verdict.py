"""Turns a model's choice of a folder into a result."""

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
    """The model's choice of a folder. The reasoning is the first field: models choose better after writing down the reason."""

    reasoning: _Reasoning = ""
    folder_id: str = Field(max_length=128)
    confidence: _Confidence = 0.5


@dataclass(frozen=True, slots=True)
class FolderAssignmentResult:
    """The folder of the conversation, and the reason.

    Attributes:
        folder_id: The id of one of the user's folders; ``None`` only when they have none.
        confidence: 0 to 1; 0 when no model answered, 0.3 when its choice did not exist.
        reasoning: A sentence that is safe to show. Never the text of an exception.
        validation_status: Whether the model's choice was accepted; if not, why, and which folder replaced it.
        receipt: The receipt of the call, if it was answered.
        error: The code of the error, if the call failed.
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
    """Accept a confident choice of a known folder; replace any other choice.

    The order is: the choice, the category's folder, the default folder, the first folder. A folder that is not among
    ``folders`` is never returned.
    """
    known = response.folder_id in _ids(folders)
    if known and response.confidence >= threshold:
        return FolderAssignmentResult(
            response.folder_id, response.confidence, response.reasoning, validation_status="accepted"
        )
    fallback = fallback_for(folders, default_id, category_folder_id)
    if not known:
        reason = f"The choice was not one of the folders; {fallback.because}."
        return fallback.result(INVALID_CHOICE_CONFIDENCE, reason, "invalid_folder_id")
    reason = f"Confidence {response.confidence:.2f} is below {threshold:.2f}; {fallback.because}."
    return fallback.result(response.confidence, reason, "low_confidence")


def get_default_folder_id(folders: Iterable[Folder]) -> str | None:
    """The id of the first folder marked as default; None if there is none."""
    return next((folder["id"] for folder in folders if folder.get("is_default")), None)


@dataclass(frozen=True, slots=True)
class Fallback:
    """The folder used instead of the model's choice, and the reason."""

    folder_id: str | None
    how: Literal["category_matched", "defaulted"]
    because: str

    def result(self, confidence: float, reasoning: str, what: str) -> FolderAssignmentResult:
        """This folder as a result. ``what`` is the first half of its status: what happened to the model's choice."""
        status = cast("ValidationStatus", f"{what}_{self.how}")
        return FolderAssignmentResult(self.folder_id, confidence, reasoning, status)


def fallback_for(
    folders: Sequence[Folder], default_id: str | None, category_folder_id: str | None
) -> Fallback:
    """The folder to use instead of the model's choice: the category's, else the default, else the first."""
    ids = _ids(folders)
    if category_folder_id in ids:
        return Fallback(category_folder_id, "category_matched", "the category's folder was used")
    if default_id in ids:
        return Fallback(default_id, "defaulted", "the default folder was used")
    if ids:
        return Fallback(ids[0], "defaulted", "there is no default folder, so the first was used")
    return Fallback(None, "defaulted", "there is no folder to use")


@lru_cache(maxsize=32)
def numbered_choice(count: int) -> type[FolderAssignment]:
    """A `FolderAssignment` whose folder is one of the numbers 1 to ``count``, and whose fields are all required."""
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
