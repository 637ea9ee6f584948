"""What the service lacks of what its table asks for. Open to everybody, so it has only names of the table and figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from backend.utils.llm.diagnostics.qos import QosInfo

FRESH_SECONDS: Final = 1.0
"""Seconds for which the answer is cached: features are routed for it, and everybody may ask."""


@dataclass(frozen=True, slots=True)
class Lacks:
    """What is missing of what the table asks for, and how much that matters.

    Attributes:
        missing: Each with ``what`` it is: a ``house_key``, with its provider and the variables that would hold it; or the ``state_server``
            that processes share.
        served: Features that an endpoint may serve with the house's keys, or without any; the demo model's among them.
        features: All of the table.
        is_demo: Whether the demo model stands in for providers.
    """

    missing: tuple[Mapping[str, Any], ...] = ()
    served: int = 0
    features: int = 0
    is_demo: bool = False

    @classmethod
    def of(cls, info: QosInfo) -> Lacks:
        """What ``info`` lacks."""
        missing: list[Mapping[str, Any]] = [
            {"what": "house_key", "provider": name, "variables": list(provider.api_key_envs)}
            for name, provider in sorted(info.providers.items())
            if provider.house_key == "absent"
        ]
        if info.notice is not None:
            missing.append({"what": "state_server"})
        served = sum(feature.endpoint is not None for feature in info.features.values())
        return cls(tuple(missing), served, len(info.features), info.demo_active)

    @property
    def is_degraded(self) -> bool:
        """Whether the service does less than the table asks for."""
        return bool(self.missing) or self.served < self.features

    @property
    def is_useless(self) -> bool:
        """Whether no call could be served, with whichever key."""
        takes_keys = any(one["what"] == "house_key" for one in self.missing)
        return bool(self.features) and not self.served and not takes_keys

    def as_dict(self) -> dict[str, Any]:
        """As a dict that is ready for JSON."""
        return {
            "missing": [dict(one) for one in self.missing],
            "features": {"served": self.served, "all": self.features, "by_demo": self.is_demo},
        }


@dataclass(slots=True)
class Readiness:
    """Caches the last answer for `FRESH_SECONDS`."""

    clock: Callable[[], float] = time.monotonic
    _last: Lacks | None = field(default=None, init=False)
    _until: float = field(default=0.0, init=False)

    async def lacks(self, ask: Callable[[], Awaitable[QosInfo]]) -> Lacks:
        """What is missing now, or was less than `FRESH_SECONDS` ago."""
        now = self.clock()
        if self._last is None or now >= self._until:
            self._until = now + FRESH_SECONDS
            self._last = Lacks.of(await ask())
        return self._last
