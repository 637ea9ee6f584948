"""A real, small chat model in a child process, for users without a key.

It is called like any OpenAI-compatible provider: at an `Address`, with a key. This package imports nothing of
the rest of `backend`.
"""

from .process import Address, LocalModel, LocalModelUnavailable, State

__all__ = ["Address", "LocalModel", "LocalModelUnavailable", "State"]
