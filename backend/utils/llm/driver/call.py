"""One call of a feature: it makes attempts until dispatch says that it is over."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage

from ..dispatch import Dispatch, Wait
from ..failures import Category
from ..transport import Credential
from .attempt import RunningAttempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage
    from pydantic import SecretStr

    from ..caller import KeyOwner
    from ..dispatch import Try
    from ..failures import BadAnswer
    from ..providers import Ask
    from ..receipt import Attempt
    from ..routing import Candidate, Route
    from ..structured import Schema
    from .bench import Bench

log = logging.getLogger(__name__)

_ADVICE = {
    Category.INVALID_OUTPUT: "That answer does not fit: {reason}. Answer again, with nothing but what was asked for.",
    Category.TRUNCATED: "Your answer was cut off at the length limit. Answer again: complete, and shorter.",
}

Accept = Callable[[Any], bool | Awaitable[bool | None] | None]
"""A further test of an answer: of the object if there is a schema, else of the message.

False rejects it, and so does a ``ValueError``, whose text is told to the model. Anything else that it raises is raised.
"""


class Call:
    """One call of a feature.

    Raises:
        LLMError: On construction, if no endpoint may serve it: nothing was sent.
    """

    def __init__(
        self,
        bench: Bench,
        route: Route,
        keys: Mapping[KeyOwner, Mapping[str, SecretStr]],
        ask: Ask,
        accept: Accept | None,
    ) -> None:
        self.bench = bench
        self.accept = accept
        self.dispatch = Dispatch(route, bench.health, clock=bench.time.clock, random=bench.time.random)
        self._ask = ask
        self._keys = keys
        self._repair: list[BaseMessage] = []

    @property
    def schema(self) -> Schema | None:
        """What the answer has to look like."""
        return self._ask.schema

    @property
    def needs_whole_answer(self) -> bool:
        """Whether nothing may be handed on before the answer was tested."""
        return self._ask.schema is not None or self.accept is not None

    def attempt(self) -> RunningAttempt:
        """The next attempt, as a context: it ends the call, or is swallowed so that the loop goes on.

        Raises:
            LLMError: The call is over: its time is up, or all that is left is resting.
        """
        while isinstance(step := self.dispatch.next(), Wait):
            self.bench.time.sleep(step.seconds)
        return RunningAttempt(self, step)

    async def aattempt(self) -> RunningAttempt:
        """As `attempt`."""
        while isinstance(step := self.dispatch.next(), Wait):
            await self.bench.time.asleep(step.seconds)
        return RunningAttempt(self, step)

    def ask(self, candidate: Candidate) -> Ask:
        """What is asked of ``candidate``."""
        return replace(self._ask, options=candidate.options)

    def credential(self, candidate: Candidate) -> Credential:
        """The credential that the route chose for ``candidate``."""
        secret = self._keys[candidate.owner].get(candidate.endpoint.provider.name)
        return Credential(candidate.owner, secret)

    # Repair --------------------------------------------------------------------------------------------------------

    def reject(self, answer: AIMessage | None, fault: BadAnswer) -> None:
        """Remember an answer that does not do, for the repair that may follow."""
        advice = _ADVICE.get(fault.category)
        if advice is None:
            return
        is_short = fault.category is not Category.TRUNCATED
        # Half a surrogate pair, which a sloppy server may send, cannot be sent back.
        text = answer.text.encode(errors="replace").decode() if answer is not None else ""
        said = [AIMessage(text)] if text and is_short else []
        self._repair = [
            *said,
            HumanMessage(advice.format(reason=fault.reason or "it is not what was asked for")),
        ]

    def messages(self, messages: list[BaseMessage], step: Try) -> list[BaseMessage]:
        """What to send: ``messages``, and for a repair the answer that did not do and what is wrong with it."""
        return [*messages, *self._repair] if step.repair else messages

    # Records -------------------------------------------------------------------------------------------------------

    def observed(self, attempt: Attempt) -> None:
        """Tell the observer."""
        if self.bench.observer is None:
            return
        try:
            self.bench.observer(self.dispatch.route, attempt)
        except Exception:
            log.exception("the observer of attempts failed; the call goes on")
