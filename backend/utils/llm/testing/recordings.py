"""Record the answers of a table's providers, and replay them in tests on the table itself, without a network or a key."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..clients import Patchbay, use
from ..model_config import Table
from .exchanges import Recording, Replay
from .loopback import LoopbackProvider
from .patchbays import key_of, loopback_patchbay, stand_in, stand_in_addresses
from .recorder import Recorder, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..clock import Time


@contextmanager
def record(
    path: Path | str, *, table: Path | str, environ: Mapping[str, str] | None = None
) -> Iterator[Recorder]:
    """Record to ``path`` the requests to a table's real providers and their answers. The table is in force meanwhile.

    Args:
        path: The file; an existing one is replaced.
        table: The table.
        environ: The variables with the keys; by default the process's environment.

    Raises:
        ValueError: No key is set, so that only the table's demo would answer.
    """
    real = Table(Path(table), environ=environ)
    providers = real.snapshot.providers
    if real.snapshot.demo_active:
        names = ", ".join(name for one in providers.values() for name in one.api_key_envs)
        raise ValueError(f"There is nobody to record: set one of {names}.")
    with Recorder(
        {name: Upstream(one.base_url, stand_in(one)) for name, one in providers.items()}
    ) as recorder:
        patchbay = Patchbay(
            real, live=stand_in_addresses(providers.values(), lambda one: recorder.url(one.name))
        )
        try:
            with use(patchbay):
                yield recorder
        finally:
            patchbay.close()
            house = real.snapshot.house_keys
            accounts = [account for one in providers.values() for account in one.accounts]
            keys = tuple(dict.fromkeys(one.api_key_env for one in accounts if one.slot in house))
            Recording(recorder.exchanges, real.snapshot.profile, keys).write(Path(path))


@contextmanager
def replay(path: Path | str, *, table: Path | str, time: Time | None = None) -> Iterator[LoopbackProvider]:
    """Answer every request of a table from the recording at ``path``. The table is in force meanwhile.

    Equal requests get their recorded answers in order. A request that was not recorded gets a 400.

    Args:
        path: The file that `record` wrote.
        table: The table.
        time: Time for waits before retries, such as that of a `VirtualTime`.

    Raises:
        NotRecordedError: At the end, if a request was not recorded; the message says what differs.
        OSError: There is no such file.
        ValueError: The file is no recording.
    """
    recorded = Recording.read(Path(path))
    environ = {"MODEL_QOS": recorded.profile, **{name: key_of(name) for name in recorded.keys}}
    replayed = Replay(recorded)
    with LoopbackProvider(replay=replayed) as provider:
        patchbay = loopback_patchbay(provider, table=table, environ=environ, time=time)
        try:
            with use(patchbay):
                yield provider
        finally:
            patchbay.close()
            replayed.check()
