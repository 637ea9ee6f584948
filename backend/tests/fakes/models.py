"""Scripted models by feature: what product code is given in place of `get_llm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.utils.llm.errors import UnknownFeatureError
from backend.utils.llm.testing import ScriptedChatModel

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

STRUCTURE = {"title": "Budget", "overview": "They agree on a budget.", "category": "finance"}
ACTION_ITEMS = {"items": [{"description": "Send the budget", "owner": "Ana"}]}
FOLDER = {"reasoning": "Money at work.", "folder_id": "1", "confidence": 0.9}


class ScriptedModels:
    """Answers every step of a conversation, unless told otherwise by feature."""

    def __init__(self, **scripts: list[Any]) -> None:
        usual: dict[str, list[Any]] = {
            "conv_discard": [{"reason": "It has a task.", "discard": False}],
            "conv_structure": [STRUCTURE],
            "conv_action_items": [ACTION_ITEMS],
            "conv_folder": [FOLDER],
            "chat_responses": ["On Friday."],
        }
        self.models = {
            feature: ScriptedChatModel(script=script) for feature, script in (usual | scripts).items()
        }

    def __call__(self, feature: str) -> BaseChatModel:
        if feature not in self.models:
            raise UnknownFeatureError(feature, self.models)
        return self.models[feature]

    @property
    def asked(self) -> set[str]:
        """The features that were called."""
        return {feature for feature, model in self.models.items() if model.calls}

    def prompt(self, feature: str) -> str:
        """Everything that the first call of ``feature`` was told."""
        return "\n".join(message.text for message in self.models[feature].calls[0].messages)
