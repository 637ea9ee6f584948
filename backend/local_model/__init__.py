"""A small chat model in a child process, for users without an API key.

It is called like any OpenAI-compatible provider, at a `LocalModelAddress`. This package imports nothing
of the rest of `backend` but `backend.utils.llm.forks`.
"""

from .process import LocalModel, LocalModelAddress, LocalModelUnavailable, State

__all__ = ["LocalModel", "LocalModelAddress", "LocalModelUnavailable", "State"]
