"""One round of a client: it asks, the model answers, perhaps after a tool call, and the client prints the answer."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backend.utils.llm.testing import Text, ToolCalls

if TYPE_CHECKING:
    from backend.utils.llm.testing import LoopbackProvider

    from .packages import Place
    from .programs import Address, Client

Kind = Literal["text", "tool"]

NOTE: Final = "the patchbay is grey\n"
_ANSWER: Final = "It says what colour the patchbay has."
_SECONDS: Final = 180


class Outcome(NamedTuple):
    """What came of a round; ``fault`` is empty if all is well."""

    fault: str
    seconds: float


def played(client: Client, place: Place, address: Address, provider: LoopbackProvider, kind: Kind) -> Outcome:
    """Let ``client`` ask at ``address``, whose answers come from ``provider``."""
    provider.clear()
    provider.always(Text(_ANSWER))
    if kind == "tool":
        provider.script(ToolCalls((client.tool,)))
    (place.work / "note.txt").write_text(NOTE)
    command = client.command(place, address)
    start = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - the clients of the list
            command.argv,
            cwd=place.work,
            env=dict(command.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(f"no end within {_SECONDS} s", _SECONDS)
    fault = _fault(done, provider, kind)
    return Outcome(fault.replace(address.token, "***"), time.monotonic() - start)


def _fault(done: subprocess.CompletedProcess[str], provider: LoopbackProvider, kind: Kind) -> str:
    if done.returncode or _ANSWER not in done.stdout:
        said = (done.stderr + done.stdout).strip().splitlines()
        return f"exit code {done.returncode}: " + " / ".join(said[-4:])
    sent = [json.dumps(request.body) for request in provider.requests]
    if kind == "tool" and not any(NOTE.strip() in body for body in sent[1:]):
        return "the tool's result did not reach the model"
    return ""
