"""What the child says, in one line and with its own exit code, when it cannot start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.local_model import server

KEY = {"LOCAL_LLM_KEY": "k"}


def run(*options: str, **environ: str) -> str:
    """Run the server with end of file on stdin, and return its complaint."""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, *options, server.__file__],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (server.CANNOT_START, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def gguf(tmp_path: Path) -> str:
    path = tmp_path / "some.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    return str(path)


def test_without_a_key() -> None:
    assert "LOCAL_LLM_KEY is not set" in run()


def test_without_the_file(tmp_path: Path) -> None:
    path = str(tmp_path / "none.gguf")

    assert f"no model file at {path}" in run(**KEY, LOCAL_LLM_GGUF=path)


def test_with_a_file_of_another_kind() -> None:
    assert f"{__file__} is not a GGUF file" in run(**KEY, LOCAL_LLM_GGUF=__file__)


def test_with_a_damaged_file(gguf: str) -> None:
    assert f"{gguf} cannot be loaded" in run(**KEY, LOCAL_LLM_GGUF=gguf)


def test_without_the_model_package() -> None:
    """`-S` leaves out everything that was installed."""
    assert "requirements-model.txt" in run("-S", **KEY)


def test_without_xllamacpp(gguf: str) -> None:
    assert "xllamacpp, which runs the local model, is not installed" in run("-S", **KEY, LOCAL_LLM_GGUF=gguf)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("libgomp.so.1: cannot open shared object file", "apt-get install libgomp1"),
        ("wrong ELF class", "xllamacpp cannot be loaded: wrong ELF class"),
    ],
    ids=["libgomp", "other"],
)
def test_with_an_xllamacpp_that_cannot_be_loaded(
    tmp_path: Path, gguf: str, message: str, advice: str
) -> None:
    (tmp_path / "xllamacpp.py").write_text(f"raise ImportError({message!r})")

    assert advice in run("-P", **KEY, LOCAL_LLM_GGUF=gguf, PYTHONPATH=str(tmp_path))


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7)], ids=str)
def test_a_core_is_left_for_others(monkeypatch: pytest.MonkeyPatch, cores: int, threads: int) -> None:
    monkeypatch.setattr(server, "_cores", lambda: cores)
    params = SimpleNamespace(
        model=SimpleNamespace(),
        cpuparams=SimpleNamespace(),
        cpuparams_batch=SimpleNamespace(),
        sampling=SimpleNamespace(),
    )

    server._settings(params, path=Path("m.gguf"), name="m", key="k")

    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (threads, threads)
    assert (params.hostnames, params.port, params.api_keys) == (["127.0.0.1"], 0, ["k"])
