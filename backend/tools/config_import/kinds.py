"""Tells the kind of a model: chat, embeddings, or a kind that is not supported here."""

from __future__ import annotations

import re

_MODES = {
    "audio_speech": "speech",
    "audio_transcription": "transcripts",
    "batch": "answers in batches",
    "chat": "chat",
    "completion": "completions of a text",
    "embedding": "embedding",
    "image_edit": "images",
    "image_generation": "images",
    "moderation": "moderation",
    "moderations": "moderation",
    "ocr": "text from scans",
    "realtime": "talk in real time",
    "rerank": "rankings",
    "responses": "chat",
    "search": "searches",
    "vector_store": "vector stores",
    "video_generation": "videos",
}
"""LiteLLM's ``mode`` to what comes of it."""
_SPELT = (
    ("embedding", re.compile(r"embed|^(bge|e5|gte)-|^voyage-")),
    ("images", re.compile(r"^dall-e|^gpt-image|^imagen|^flux|stable-diffusion")),
    ("transcripts", re.compile(r"whisper|-transcribe")),
    ("speech", re.compile(r"^tts-|-tts($|-)")),
    ("rankings", re.compile(r"rerank")),
    ("moderation", re.compile(r"moderation")),
    ("videos", re.compile(r"^(sora|veo)-")),
    ("talk in real time", re.compile(r"realtime")),
    ("completions of a text", re.compile(r"^(davinci|babbage|curie|ada)(-|$)|^text-davinci|-instruct-0914$")),
)
"""Spelling of the last part of a model's name to what comes of it."""

SERVED = frozenset({"chat", "embedding"})


def kind_from_litellm_mode(mode: str) -> str | None:
    """Translate ``mode`` of LiteLLM's model info into the kind of model, such as ``chat``; None for an unknown mode."""
    return _MODES.get(mode)


def kind_from_model_name(model: str) -> str:
    """Guess the kind of a model, such as ``embedding``, from its name; ``chat`` if the name tells nothing."""
    name = model.lower().rpartition("/")[2]
    return next((kind for kind, spelt in _SPELT if spelt.search(name)), "chat")


def unsupported_kind_message(kind: str) -> str:
    """Make the report's message that models of this ``kind`` are not supported."""
    return f"is a model for {kind}; only chats and embeddings are served here. Take it out, and keep it where it is."
