"""What the table of features asks for and the service lacks.

Open to everybody, so it shows only names of the table, and numbers.
"""

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
    """What the service lacks to serve every feature of the table, and how much that matters. Shown by ``/readyz``.

    Attributes:
        missing: What is missing, each with its kind as ``what``: a ``house_key``, the operator's key for a provider, with the
            provider and the variables that may hold the key; or the ``state_server`` that processes should share.
        served: The number of features that can be served now with the operator's keys, or without any. Includes
            those that the demo model serves.
        out_of_service: The number of features that no endpoint may serve until the table, the keys or the day change.
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
        """Find out from ``info`` what the service lacks."""
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
        """Whether something is missing, or some feature cannot be served with the operator's keys."""
        return bool(self.missing) or self.served < self.features

    @property
    def is_useless(self) -> bool:
        """Whether no feature can be served, with whichever key, until the table, the keys or the day change.

        False if only an operator's key is missing or on cooldown: users' own keys can still be served.
        """
        takes_keys = any(one["what"] == "house_key" for one in self.missing)
        return bool(self.features) and self.out_of_service == self.features and not takes_keys

    def as_dict(self) -> dict[str, Any]:
        """The report as a dict for the JSON response."""
        return {
            "missing": [dict(one) for one in self.missing],
            "features": {"served": self.served, "all": self.features, "by_demo": self.is_demo},
        }


class Readiness:
    """Computes the `ReadinessReport` at most once in `FRESH_SECONDS`, however many clients ask.

    Args:
        clock: The monotonic clock, in seconds.
        wait: The most seconds that a client waits for a new report before it gets the last one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: float = WAIT_SECONDS) -> None:
        self._answers = SingleFlight[ReadinessReport](FRESH_SECONDS, wait, clock)
        self._last = ReadinessReport()

    async def lacks(self, ask: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
        """The report of what the service lacks, not older than `FRESH_SECONDS` if a new one can be computed in time.

        If that takes more than ``wait`` seconds, returns the last report; before the first one, an empty report.

        Args:
            ask: Fetches the state of the table. It is not called again while a call is running.
        """
        answer = await self._answers.ended(partial(_learn, ask))
        if answer is not None:
            self._last = answer.result()
        return self._last


async def _learn(ask: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
    return ReadinessReport.of(await ask())
