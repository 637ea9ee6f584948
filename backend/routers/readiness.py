"""What the table asks for and the service lacks. Open to everybody, so it shows only names of the table, and numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backend.single_flight import SingleFlight

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from backend.utils.llm.diagnostics.qos import QosInfo

FRESH_SECONDS: Final = 1.0
"""Seconds for which the answer is cached: features are routed for it, and everybody may ask."""
WAIT_SECONDS: Final = 0.5
"""Seconds for which an answer is awaited: routing needs a thread, and all of them may be busy."""


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """What the table asks for and the service lacks, and how much that matters.

    Attributes:
        missing: Each missing thing by its kind ``what``: a ``house_key``, with its provider and the variables for it; or the
            ``state_server`` that processes share.
        served: Features that an endpoint may serve with the house's keys, or without any; the demo model's among them.
        out_of_service: Features that no endpoint may serve until the table, the keys or the day change.
        features: The number of features in the table.
        is_demo: Whether the demo model stands in for providers.
    """

    missing: tuple[Mapping[str, Any], ...] = ()
    served: int = 0
    out_of_service: int = 0
    features: int = 0
    is_demo: bool = False

    @classmethod
    def of(cls, info: QosInfo) -> ReadinessReport:
        """What the service that ``info`` describes lacks."""
        missing: list[Mapping[str, Any]] = [
            {"what": "house_key", "provider": name, "variables": list(provider.api_key_envs)}
            for name, provider in sorted(info.providers.items())
            if provider.house_key == "absent"
        ]
        if info.notice is not None:
            missing.append({"what": "state_server"})
        features = info.features.values()
        return cls(
            tuple(missing),
            served=sum(feature.endpoint is not None for feature in features),
            out_of_service=sum(feature.out_of_service for feature in features),
            features=len(features),
            is_demo=info.demo_active,
        )

    @property
    def is_degraded(self) -> bool:
        """Whether the service can do less than the table asks for."""
        return bool(self.missing) or self.served < self.features

    @property
    def is_useless(self) -> bool:
        """Whether no call can be served, with whichever key, until the table, the keys or the day change.

        A house key on cooldown does not count: users' own keys are served, and a cooldown ends by itself.
        """
        takes_keys = any(one["what"] == "house_key" for one in self.missing)
        return bool(self.features) and self.out_of_service == self.features and not takes_keys

    def as_dict(self) -> dict[str, Any]:
        """As a dict that is ready for JSON."""
        return {
            "missing": [dict(one) for one in self.missing],
            "features": {"served": self.served, "all": self.features, "by_demo": self.is_demo},
        }


class Readiness:
    """Caches the last result for `FRESH_SECONDS`, and until the next one has arrived.

    Args:
        clock: The monotonic clock, in seconds.
        wait: The most seconds to wait for a result.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: float = WAIT_SECONDS) -> None:
        self._answers = SingleFlight[ReadinessReport](FRESH_SECONDS, wait, clock)
        self._last = ReadinessReport()

    async def lacks(self, ask: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
        """What is missing now, or was at the last result; nothing before the first. Waits for ``ask`` at most ``wait`` seconds.

        While ``ask`` is running, it is not called again.
        """
        answer = await self._answers.ended(partial(_learn, ask))
        if answer is not None:
            self._last = answer.result()
        return self._last


async def _learn(ask: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
    return ReadinessReport.of(await ask())
