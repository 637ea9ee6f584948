"""Records the answers of a table's providers, and replays them in tests, without a network or a key."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..clients import use
from ..model_config import Table
from ..patchbay import Patchbay
from .exchanges import Recording, Replay
from .loopback import LoopbackProvider
from .patchbays import fake_operator_key, find_loopback_path, loopback_patchbay, make_replacement_addresses
from .recorder import Recorder, UpstreamProvider

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..clock import Time


@contextmanager
def record(
    path: Path | str, *, table: Path | str, environ: Mapping[str, str] | None = None
) -> Iterator[Recorder]:
    """Send calls to the real providers of a table, and record requests and responses in the file ``path``.

    The table is in force inside the ``with`` block; the file is written at its end.

    Args:
        path: The recording file; an existing file is replaced.
        table: The path of the table.
        environ: The environment variables with the API keys; by default those of the process.

    Raises:
        ValueError: No API key is set, so that only the table's demo would answer.
    """
    real = Table(Path(table), environ=environ)
    providers = real.snapshot.providers
    if real.snapshot.demo_active:
        names = ", ".join(name for provider in providers.values() for name in provider.api_key_envs)
        raise ValueError(f"There is nobody to record: set one of {names}.")
    with Recorder(
        {
            name: UpstreamProvider(provider.base_url, find_loopback_path(provider))
            for name, provider in providers.items()
        }
    ) as recorder:
        patchbay = Patchbay(
            real,
            live=make_replacement_addresses(
                providers.values(), lambda provider: recorder.recording_url(provider.name)
            ),
        )
        try:
            with use(patchbay):
                yield recorder
        finally:
            patchbay.close()
            house = real.snapshot.house_keys
            accounts = [account for provider in providers.values() for account in provider.accounts]
            keys = tuple(dict.fromkeys(account.api_key_env for account in accounts if account.slot in house))
            Recording(recorder.exchanges, real.snapshot.profile, keys).write(Path(path))


@contextmanager
def replay(path: Path | str, *, table: Path | str, time: Time | None = None) -> Iterator[LoopbackProvider]:
    """Answer the calls of a table from the recording file ``path``, without a network or keys.

    The table is in force inside the ``with`` block. Equal requests get their recorded answers in order. A
    request that was not recorded gets a 400.

    Args:
        path: The file that `record` wrote.
        table: The path of the table.
        time: The clock for waits before retries, such as ``VirtualTime().time``.

    Raises:
        NotRecordedError: At the end of the block, if a request was not recorded. The message tells what
            differs.
        OSError: The file does not exist, or cannot be read.
        ValueError: The file is not a recording.
    """
    recorded = Recording.read(Path(path))
    environ = {"MODEL_QOS": recorded.profile, **{name: fake_operator_key(name) for name in recorded.keys}}
    replayed = Replay(recorded)
    with LoopbackProvider(replay=replayed) as provider:
        patchbay = loopback_patchbay(provider, table=table, environ=environ, time=time)
        try:
            with use(patchbay):
                yield provider
        finally:
            patchbay.close()
            replayed.raise_if_unrecorded()
