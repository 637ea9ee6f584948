"""Shows each attempt of a call to LangChain's callbacks, as a child run of the call's run.

An attempt is a chain run, not a model run: tools that add up the tokens of model runs would count the
call twice. It contains no prompt and no answer; the call's own run does.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
)
from langchain_core.runnables.config import ensure_config, merge_configs
from typing_extensions import override

from ..errors import CallError
from ..failures import POLICY, is_control_flow
from .awaiting import await_if_awaitable

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from uuid import UUID

    from langchain_core.runnables import RunnableConfig

    from .attempt import RunningAttempt

log = logging.getLogger(__name__)

Kind = type[CallbackManager] | type[AsyncCallbackManager]


_OF_CHAINS = ("on_chain_start", "on_chain_end", "on_chain_error")
_IDLE = {getattr(kind, name) for kind in (BaseCallbackHandler, AsyncCallbackHandler) for name in _OF_CHAINS}
"""What handlers inherit that do not listen to chains."""


def has_callbacks(config: RunnableConfig | None) -> bool:
    """Whether a LangChain run that begins now would have callbacks, from ``config``, context or environment."""
    return bool(CallbackManager.configure(ensure_config(config).get("callbacks")).handlers)


def has_chain_callbacks(run: Any) -> bool:
    """Whether any callback of LangChain's ``run`` listens to chain runs, as which attempts are reported."""
    return run is not None and any(map(_listens_to_chains, run.inheritable_handlers))


def _listens_to_chains(handler: BaseCallbackHandler) -> bool:
    methods = (getattr(handler, name) for name in _OF_CHAINS)
    return not handler.ignore_chain and any(
        getattr(method, "__func__", method) not in _IDLE for method in methods
    )


def trace_attempt(
    attempt: RunningAttempt, run: Any, manager_type: type[CallbackManager | AsyncCallbackManager]
) -> AbstractAsyncContextManager[RunningAttempt, bool]:
    """Wrap ``attempt`` so that LangChain callbacks see it as a child of ``run``.

    Returns ``attempt`` itself if no callback listens to chain runs.
    """
    if not has_chain_callbacks(run):
        return attempt
    return _TracedAttempt(attempt, _manager_below(run, manager_type))


def _manager_below(run: Any, kind: Kind) -> CallbackManager | AsyncCallbackManager:
    """A callback manager whose runs are children of ``run``, like LangChain's own for chains."""
    run_id = getattr(run, "run_id", None) or getattr(run, "parent_run_id", None)
    made = kind(handlers=[], parent_run_id=run_id)
    made.set_handlers(run.inheritable_handlers)
    made.add_tags(run.inheritable_tags)
    made.add_metadata(run.inheritable_metadata)
    return made


class _TracedAttempt:
    """An attempt as a context manager, within a run. Exceptions of callbacks change nothing.

    A class and no generator: an ending event loop closes generators of abandoned streams in any order, and
    `contextmanager` would restore a traceback that the attempt has removed.
    """

    def __init__(self, attempt: RunningAttempt, manager: CallbackManager | AsyncCallbackManager) -> None:
        self._attempt = attempt
        self._manager = manager
        self._run: Any = None

    async def __aenter__(self) -> RunningAttempt:
        attempt = self._attempt.__enter__()
        try:
            with _Harmless():
                inputs, name = _inputs(attempt), f"attempt {attempt.step.candidate.endpoint}"
                self._run = await await_if_awaitable(self._manager.on_chain_start({}, inputs, name=name))
        except BaseException:
            attempt.__exit__(*sys.exc_info())
            raise
        return attempt

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return self._attempt.__exit__(kind, error, trace)
        finally:
            if self._run is not None:
                with _Harmless():
                    await self._report(self._run)

    async def _report(self, run: Any) -> None:
        record = self._attempt.record
        if record is None or record.category is None:
            await await_if_awaitable(run.on_chain_end(dict(record.as_dict()) if record else {}))
            return
        sentence = f"{record.endpoint} {POLICY[record.category].sentence}."
        await await_if_awaitable(run.on_chain_error(CallError(sentence, attempts=[record])))


class _Harmless:
    """Logs a callback's exception instead of raising it."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None or is_control_flow(error):
            return False
        log.warning("a callback failed on an attempt; the call goes on: %s", type(error).__name__)
        return True


class RunIdRecorder(BaseCallbackHandler):
    """A LangChain callback handler that records a stream's run id, which ``_stream`` is not given."""

    run_inline = True

    def __init__(self, config: RunnableConfig) -> None:
        self.config = config
        self._run_id: UUID | None = None

    @override
    def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self._run_id = run_id

    def make_child_run_manager(self) -> CallbackManager:
        """Make a callback manager whose runs become children of the recorded run."""
        manager = CallbackManager.configure(
            self.config.get("callbacks"),
            inheritable_tags=self.config.get("tags"),
            inheritable_metadata=self.config.get("metadata"),
        )
        manager.parent_run_id = self._run_id
        return manager


def add_run_id_recorder(config: RunnableConfig | None) -> tuple[RunnableConfig | None, RunIdRecorder | None]:
    """Return a copy of ``config`` with a new `RunIdRecorder` among its callbacks, and this recorder.

    If no callback listens to chain runs, return ``config`` itself and None.
    """
    given = ensure_config(config)
    recorder = RunIdRecorder(given)
    if not has_chain_callbacks(recorder.make_child_run_manager()):
        return config, None
    return merge_configs(given, {"callbacks": [recorder]}), recorder


def _inputs(attempt: RunningAttempt) -> dict[str, Any]:
    candidate = attempt.step.candidate
    return {
        "endpoint": str(candidate.endpoint),
        "key_owner": candidate.owner,
        "repair": attempt.step.repair,
    }
