"""What a request is lent: its user's keys, which of them serve, and who else may pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backend.utils.llm.caller import OwnEndpoint
from backend.utils.llm.model_config import OWN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pydantic import SecretStr

    from backend.utils.llm.caller import Caller
    from backend.utils.llm.types import KeyPolicy

    from .lent import LentKey
    from .store import KeptKey


@dataclass(frozen=True, slots=True)
class Loan:
    """The keys of one request.

    Attributes:
        keys: Provider to secret; under ``own``, the one for an endpoint of the user's own.
        versions: Which they are.
        serving: The providers whose keys serve the request's calls.
        policy: Whose keys may pay. Unset only for a user who has none.
    """

    keys: Mapping[str, LentKey]
    versions: Mapping[str, KeptKey]
    serving: Collection[str]
    policy: KeyPolicy | None

    def only(self, provider: str) -> Loan:
        """The same, with the key for ``provider`` alone to serve and pay."""
        return replace(self, serving=[provider], policy="byok_only")

    def lend_to(self, caller: Caller) -> Caller:
        """``caller`` with the keys that serve. None is opened for it."""
        keys = {provider: self.keys[provider] for provider in self.serving if provider != OWN}
        own = self._own_endpoint() if OWN in self.serving else None
        return caller.model_copy(update={"keys": keys, "own_endpoint": own, "key_policy": self.policy})

    def used(self) -> Collection[KeptKey]:
        """The versions that came with the request, or were opened in it."""
        return [self.versions[provider] for provider, key in self.keys.items() if key.was_used]

    def _own_endpoint(self) -> OwnEndpoint | None:
        """It was looked at when it was enrolled; to do so again would open its key."""
        server = self.versions[OWN].place.server
        return server and OwnEndpoint.model_construct(**server._asdict(), key=self.keys[OWN])


def who_serves(versions: Mapping[str, KeptKey], brought: Mapping[str, SecretStr]) -> Collection[str]:
    """An endpoint of the user's own takes the place of what is stored, and keys that came with the request take its."""
    if OWN in versions and brought.keys() <= {OWN}:
        return [OWN]
    return versions.keys() - {OWN}


def who_pays(held: Sequence[KeptKey]) -> KeyPolicy | None:
    """The house pays for nobody who has a key, unless they chose that: also if it is not stored and did not come along."""
    if not held:
        return None
    return "byok_then_house" if held[0].house_fallback else "byok_only"
