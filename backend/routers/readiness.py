"""Reports what the service lacks to serve every feature of the table.

Everybody may read the report, so it contains only names from the feature table, and numbers.
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
    """What the service lacks to serve every feature of the table. Shown by ``/readyz``.

    Attributes:
        missing: One entry for each missing thing. Its ``what`` is ``house_key`` for the operator's key for a
            provider, or ``state_server`` for the server on which processes share their state.
        served: The number of features that can be served now without a user's own key.
        out_of_service: The number of features that no endpoint can serve until the table, the keys or the
            date change.
        features: The number of features in the table.
        is_demo: Whether the built-in demo model serves calls in place of providers.
    """

    missing: tuple[Mapping[str, Any], ...] = ()
    served: int = 0
    out_of_service: int = 0
    features: int = 0
    is_demo: bool = False

    @classmethod
    def from_qos_info(cls, info: QosInfo) -> ReadinessReport:
        """Make the report from the current state ``info`` of the feature table."""
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
        """Whether something is missing, or a feature cannot be served now without a user's own key."""
        return bool(self.missing) or self.served < self.features

    @property
    def is_out_of_service(self) -> bool:
        """Whether no feature can be served with any key until the table, the keys or the date change.

        False if only keys of the operator are missing or on cooldown, because users' own keys may still work.
        """
        takes_keys = any(item["what"] == "house_key" for item in self.missing)
        return bool(self.features) and self.out_of_service == self.features and not takes_keys

    def as_dict(self) -> dict[str, Any]:
        """The report as a dict for the JSON response."""
        return {
            "missing": [dict(item) for item in self.missing],
            "features": {"served": self.served, "all": self.features, "by_demo": self.is_demo},
        }


class ReadinessChecker:
    """Computes the `ReadinessReport` at most once in `FRESH_SECONDS`, however many clients ask for it.

    Args:
        clock: The monotonic clock, in seconds.
        wait: The longest time, in seconds, that a client waits for a new report before it gets the previous
            report.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wait: float = WAIT_SECONDS) -> None:
        self._answers = SingleFlight[ReadinessReport](FRESH_SECONDS, wait, clock)
        self._last = ReadinessReport()

    async def get_report(self, fetch_qos_info: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
        """Return the readiness report, at most `FRESH_SECONDS` old if it can be computed in time.

        If that takes longer than ``wait`` seconds, returns the previous report, or at first an empty report.

        Args:
            fetch_qos_info: Computes the state of the feature table. Not called while a previous call is still
                running.
        """
        answer = await self._answers.wait_for_result(partial(_learn, fetch_qos_info))
        if answer is not None:
            self._last = answer.result()
        return self._last


async def _learn(ask: Callable[[], Awaitable[QosInfo]]) -> ReadinessReport:
    return ReadinessReport.from_qos_info(await ask())
