"""What callbacks see of an attempt: a child run under the run of the call.

A chain run, not a model's: whatever adds up the tokens of model runs would count those of the call twice. No prompt and
no answer is in it; the call's own run has those.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.runnables.config import ensure_config, merge_configs
from typing_extensions import override

from ..errors import CallError
from ..failures import POLICY, is_control_flow

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.runnables import RunnableConfig

    from .attempt import RunningAttempt

log = logging.getLogger(__name__)

ManagerT = TypeVar("ManagerT", CallbackManager, AsyncCallbackManager)


class Runs:
    """The child runs of one synchronous call. A callback that raises changes nothing."""

    def __init__(self, parent: CallbackManagerForLLMRun | Any | None) -> None:
        self._manager = _under(CallbackManager, parent)

    def of(self, attempt: RunningAttempt) -> _Run:
        """``attempt`` as a context, with a run around it."""
        return _Run(self._manager, attempt)


class _Run:
    """An attempt as a context, with a run around it.

    A class, not a generator: `contextmanager` would put back a traceback that the attempt takes off.
    """

    def __init__(self, manager: CallbackManager | None, attempt: RunningAttempt) -> None:
        self._manager = manager
        self._attempt = attempt
        self._run: Any = None

    def __enter__(self) -> RunningAttempt:
        attempt = self._attempt.__enter__()
        if self._manager is not None:
            try:
                with _Harmless():
                    self._run = self._manager.on_chain_start({}, _inputs(attempt), name=_name(attempt))
            except BaseException:
                attempt.__exit__(*sys.exc_info())
                raise
        return attempt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            return self._attempt.__exit__(kind, error, trace)
        finally:
            if self._run is not None:
                with _Harmless():
                    if (failed := _error(self._attempt)) is None:
                        self._run.on_chain_end(_outputs(self._attempt))
                    else:
                        self._run.on_chain_error(failed)


class AsyncRuns:
    """As `Runs`."""

    def __init__(self, parent: AsyncCallbackManagerForLLMRun | Any | None) -> None:
        self._manager = _under(AsyncCallbackManager, parent)

    def of(self, attempt: RunningAttempt) -> _AsyncRun:
        """As `Runs.of`."""
        return _AsyncRun(self._manager, attempt)


class _AsyncRun:
    """An attempt as a context, with a run around it.

    A class, not a generator: a loop that ends closes the generators of abandoned streams in any order.
    """

    def __init__(self, manager: AsyncCallbackManager | None, attempt: RunningAttempt) -> None:
        self._manager = manager
        self._attempt = attempt
        self._run: Any = None

    async def __aenter__(self) -> RunningAttempt:
        attempt = self._attempt.__enter__()
        if self._manager is not None:
            try:
                with _Harmless():
                    inputs, name = _inputs(attempt), _name(attempt)
                    self._run = await self._manager.on_chain_start({}, inputs, name=name)
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
                    if (failed := _error(self._attempt)) is None:
                        await self._run.on_chain_end(_outputs(self._attempt))
                    else:
                        await self._run.on_chain_error(failed)


class _Harmless:
    """A callback's own fault is logged."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None or is_control_flow(error):
            return False
        log.warning("a callback failed on an attempt; the call goes on: %s", type(error).__name__)
        return True


class Watch(BaseCallbackHandler):
    """Learns the run of a stream: LangChain does not tell `_stream` of it."""

    run_inline = True

    def __init__(self, config: RunnableConfig) -> None:
        self.config = config
        self._run_id: UUID | None = None

    @override
    def on_chat_model_start(self, *_: Any, run_id: UUID, **__: Any) -> None:
        self._run_id = run_id

    def parent(self) -> Any:
        """What a run manager of that run would tell of whom to tell."""
        told = CallbackManager.configure(
            self.config.get("callbacks"),
            inheritable_tags=self.config.get("tags"),
            inheritable_metadata=self.config.get("metadata"),
        )
        told.parent_run_id = self._run_id
        return told


def watched(config: RunnableConfig | None) -> tuple[RunnableConfig | None, Watch | None]:
    """``config``, with a `Watch` if anybody else watches."""
    given = ensure_config(config)
    watch = Watch(given)
    if not watch.parent().handlers:
        return config, None
    return merge_configs(given, {"callbacks": [watch]}), watch


def _under(manager: type[ManagerT], parent: Any) -> ManagerT | None:
    """A manager whose runs are children of ``parent``, as LangChain's own of chains; None if nobody wants to know."""
    if parent is None or not parent.inheritable_handlers:
        return None
    run_id = getattr(parent, "run_id", None) or getattr(parent, "parent_run_id", None)
    made = manager(handlers=[], parent_run_id=run_id)
    made.set_handlers(parent.inheritable_handlers)
    made.add_tags(parent.inheritable_tags)
    made.add_metadata(parent.inheritable_metadata)
    return made


def _name(attempt: RunningAttempt) -> str:
    return f"attempt {attempt.step.candidate.endpoint}"


def _inputs(attempt: RunningAttempt) -> dict[str, Any]:
    candidate = attempt.step.candidate
    return {
        "endpoint": str(candidate.endpoint),
        "key_owner": candidate.owner,
        "repair": attempt.step.repair,
    }


def _outputs(attempt: RunningAttempt) -> dict[str, Any]:
    return attempt.record.as_dict() if attempt.record else {}


def _error(attempt: RunningAttempt) -> CallError | None:
    record = attempt.record
    if record is None or record.category is None:
        return None
    return CallError(f"{record.endpoint} {POLICY[record.category].sentence}.", attempts=[record])
