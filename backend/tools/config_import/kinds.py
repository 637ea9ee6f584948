"""The kind of a model: chat, embeddings, or one that is not served here."""

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


def kind_of_mode(mode: str) -> str | None:
    """The kind of model, such as ``chat``, for ``mode`` in LiteLLM's model info; None if there is no such mode."""
    return _MODES.get(mode)


def kind_of_model(model: str) -> str:
    """The kind of ``model`` by its name; chat by default."""
    name = model.lower().rpartition("/")[2]
    return next((kind for kind, spelt in _SPELT if spelt.search(name)), "chat")


def unserved_sentence(kind: str) -> str:
    """The sentence that says that models of this ``kind`` are not served."""
    return f"is a model for {kind}; only chats and embeddings are served here. Take it out, and keep it where it is."
