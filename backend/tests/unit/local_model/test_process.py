"""`LocalModel` against children that behave and children that do not. No model is loaded here."""

from __future__ import annotations

import itertools
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.local_model import LocalModel, LocalModelUnavailable, child, pulse, server
from backend.local_model.process import DEMO_NAME, PAUSES
from backend.tests.fakes.children import fork, in_child

if TYPE_CHECKING:
    from collections.abc import Iterator

SOON = 20.0
ROOT = Path(__file__).parents[4]

READY = """
import json, os, sys
print(json.dumps({"base_url": "http://127.0.0.1:1/v1"}), flush=True)
sys.stdin.read()
"""
CRASH = "import os, sys; print('out of luck', file=sys.stderr, flush=True); os._exit(3)"
NEVER_READY = "import sys; sys.stdin.read()"


def command(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-c", script, *arguments]


def counting(log: Path, script: str) -> list[str]:
    """`script`, which finds in `born` how many children there have been with it."""
    count = "import sys; log = open(sys.argv[1], 'a+'); log.write('x'); log.seek(0); born = len(log.read())\n"
    return command(count + script, str(log))


@pytest.fixture
def models() -> Iterator[list[LocalModel]]:
    """Whatever a test puts in here is stopped after it."""
    started: list[LocalModel] = []
    yield started
    for model in started:
        model.stop()


def started(models: list[LocalModel], argv: list[str], *, start_timeout: float = SOON) -> LocalModel:
    model = LocalModel(command=argv, pauses=(0.0, 0.0), start_timeout=start_timeout)
    models.append(model)
    model.start()
    return model


def unavailable(model: LocalModel, timeout: float = SOON) -> str:
    with pytest.raises(LocalModelUnavailable) as caught:
        model.address(timeout)
    return caught.value.reason


def test_address_is_known_when_the_child_says_it_is_ready(models: list[LocalModel]) -> None:
    model = started(models, command(READY))

    address = model.address(SOON)

    assert address.base_url == "http://127.0.0.1:1/v1"
    assert (model.state, model.reason, model.current_address()) == ("ready", None, address)


def test_key_is_not_printed(models: list[LocalModel]) -> None:
    address = started(models, command(READY)).address(SOON)

    assert len(address.key) >= 32
    assert address.key not in repr(address)


def test_start_returns_before_the_child_is_ready(models: list[LocalModel]) -> None:
    model = started(models, command(NEVER_READY))

    assert (model.state, model.current_address()) == ("starting", None)
    assert "still starting" in unavailable(model, timeout=0.01)


def test_a_second_start_changes_nothing(models: list[LocalModel]) -> None:
    model = started(models, command(READY))
    address = model.address(SOON)

    model.start()

    assert model.current_address() is address


def test_nothing_can_be_asked_before_start() -> None:
    assert "is not running" in unavailable(LocalModel())


def test_a_crash_is_followed_by_another_child(models: list[LocalModel], tmp_path: Path) -> None:
    script = f"if born < 3: sys.exit(1)\n{READY}"

    model = started(models, counting(tmp_path / "log", script))

    assert model.address(SOON) == model.current_address()
    assert (tmp_path / "log").read_text() == "xxx"


def test_a_new_child_has_a_new_key(models: list[LocalModel]) -> None:
    model = started(models, command(READY))
    first = model.address(SOON)

    model.stop()
    model.start()

    assert model.address(SOON).key != first.key


def test_too_many_crashes_in_a_row_are_a_failure_that_quotes_the_child(
    models: list[LocalModel], tmp_path: Path
) -> None:
    model = started(models, counting(tmp_path / "log", CRASH))

    reason = unavailable(model)

    assert (model.state, model.reason) == ("failed", reason)
    assert "exit code 3" in reason
    assert "out of luck" in reason
    assert (tmp_path / "log").read_text() == "xxx"  # the first, and one for each of the two pauses


def test_crashes_that_are_far_apart_are_not_counted_together(
    models: list[LocalModel], tmp_path: Path
) -> None:
    """A child that served for a minute starts the count anew."""
    script = READY.replace("sys.stdin.read()", "born > 3 and sys.stdin.read()")
    minutes = itertools.count(0.0, 60.0)
    log = tmp_path / "log"
    fourth = threading.Event()

    model = LocalModel(command=counting(log, script), pauses=(0.0,), clock=lambda: next(minutes))
    models.append(model)
    model.start()

    for _ in range(5000):
        if log.exists() and log.read_text() == "xxxx" and model.state == "ready":
            break
        fourth.wait(0.01)
    assert (model.state, log.read_text()) == ("ready", "xxxx")


def test_a_child_that_cannot_start_is_not_tried_again(models: list[LocalModel], tmp_path: Path) -> None:
    script = "print('noise\\napt-get install libgomp1', file=sys.stderr); sys.exit(78)"

    model = started(models, counting(tmp_path / "log", script))

    assert unavailable(model) == "apt-get install libgomp1"
    assert (tmp_path / "log").read_text() == "x"


def test_a_child_that_is_never_ready_is_killed(models: list[LocalModel]) -> None:
    model = started(models, command(NEVER_READY), start_timeout=0.2)

    assert "not ready in time" in unavailable(model)
    assert model.state == "failed"


def test_a_failed_model_can_be_started_again(models: list[LocalModel], tmp_path: Path) -> None:
    model = started(models, counting(tmp_path / "log", f"if born == 1: sys.exit(78)\n{READY}"))
    assert unavailable(model)

    model.start()

    assert model.address(SOON) == model.current_address()
    assert model.reason is None


def test_a_command_that_does_not_exist_is_a_failure(models: list[LocalModel]) -> None:
    assert "/does/not/exist" in unavailable(started(models, ["/does/not/exist"]))


@pytest.mark.parametrize(
    "noise",
    ["'hello'", "'{'", "[1]", "{}", "'{\"base_url\": 7}'", r"'\udcff'", "'x' * 200_000"],
    ids=["text", "half", "list", "empty", "number", "bytes", "long"],
)
def test_other_output_is_passed_over(models: list[LocalModel], noise: str) -> None:
    script = f"import sys; sys.stdout.reconfigure(errors='surrogateescape'); print({noise})\n{READY}"

    assert started(models, command(script)).address(SOON).base_url == "http://127.0.0.1:1/v1"


def test_a_talkative_child_is_not_blocked_by_a_full_pipe(models: list[LocalModel]) -> None:
    script = f"import sys; print('x' * 500_000, file=sys.stderr)\n{READY}"

    assert started(models, command(script)).address(SOON).base_url == "http://127.0.0.1:1/v1"


def test_stop_ends_the_child_and_may_be_repeated(models: list[LocalModel]) -> None:
    model = started(models, command(READY))
    model.address(SOON)

    model.stop()
    model.stop()

    assert (model.state, model.current_address()) == ("stopped", None)
    assert "is not running" in unavailable(model)


def test_stop_kills_a_child_that_ignores_stdin(
    models: list[LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "PATIENCE", 0.1)
    model = started(models, command(f"{READY}\nimport time; time.sleep(600)"))
    model.address(SOON)
    assert model._run
    thread = model._run.thread

    model.stop()

    assert thread
    assert not thread.is_alive()  # it waits for the process, so that is gone too


def test_stop_wakes_those_who_wait(models: list[LocalModel]) -> None:
    model = started(models, command(NEVER_READY))
    threading.Timer(0.1, model.stop).start()

    assert "is not running" in unavailable(model)


def test_stop_does_not_wait_for_the_next_try(models: list[LocalModel], tmp_path: Path) -> None:
    model = LocalModel(command=counting(tmp_path / "log", CRASH), pauses=(3600.0,))
    models.append(model)
    with model:
        assert "still starting" in unavailable(model, timeout=0.3)

    assert model.state == "stopped"


def test_child_sees_no_secret_of_the_parent(models: list[LocalModel], tmp_path: Path) -> None:
    names = READY.replace('"http://127.0.0.1:1/v1"', '" ".join(sorted(os.environ))')
    environ = {"PATH": "/bin", "OPENAI_API_KEY": "sk-1", "LLAMA_ARG_THREADS": "9"}
    model = LocalModel(tmp_path / "a.gguf", environ=environ, command=command(names))
    models.append(model)
    model.start()

    seen = set(model.address(SOON).base_url.split()) - {"LC_CTYPE"}  # Python's own

    assert seen == {"PATH", "LOCAL_LLM_GGUF", "LOCAL_LLM_KEY", "LOCAL_LLM_NAME"}


def test_reason_never_holds_the_key(models: list[LocalModel]) -> None:
    script = "import os, sys; print('key', os.environ['LOCAL_LLM_KEY'], file=sys.stderr); sys.exit(78)"

    assert unavailable(started(models, command(script))) == "key ***"


def test_child_has_a_session_of_its_own(models: list[LocalModel]) -> None:
    """Ctrl-C in a terminal reaches the parent alone."""
    script = READY.replace('"http://127.0.0.1:1/v1"', "str(os.getsid(0) == os.getpid())")

    assert started(models, command(script)).address(SOON).base_url == "True"


SILENT = """
import json, os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(json.dumps({"base_url": f"http://127.0.0.1:{listener.getsockname()[1]}/v1"}), flush=True)
sys.stdin.read()
"""
WELL = """
import http.server, json, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"base_url": f"http://127.0.0.1:{server.server_port}/v1"}), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions come, and patience ends, within tenths of a second."""
    for name, seconds in (("EVERY", 0.02), ("ANSWER", 0.1), ("SILENCE", 0.3)):
        monkeypatch.setattr(pulse, name, seconds)


def is_reached(state: str, model: LocalModel) -> bool:
    """Whether ``model`` comes to be in ``state``; what it says of every change is waited for."""
    with model._changed:
        return model._changed.wait_for(lambda: model.state == state, SOON)


@pytest.mark.usefixtures("quick")
def test_a_child_that_hangs_is_reported_at_once_and_replaced(
    models: list[LocalModel], tmp_path: Path
) -> None:
    script = f"hangs = {SILENT!r}\nwell = {WELL!r}\nexec(hangs if born == 1 else well)"
    model = started(models, counting(tmp_path / "log", script))
    hanging = model.address(SOON)
    assert model._run
    assert model._run.child
    first = model._run.child

    assert is_reached("unresponsive", model)
    told = (model.current_address(), model.reason)
    with pytest.raises(LocalModelUnavailable, match="does not answer"):
        model.address(0.0)

    assert told == (None, f"{model.label} does not answer. Try again in a moment.")
    assert first.ended.wait(SOON)
    assert model.address(SOON).key != hanging.key  # whose call broke off by that waits for the next one
    assert (model.state, (tmp_path / "log").read_text()) == ("ready", "xx")


@pytest.mark.usefixtures("quick")
def test_a_child_that_was_stopped_for_a_moment_is_ready_again(
    models: list[LocalModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "SILENCE", 3600.0)
    model = started(models, [sys.executable, "-c", WELL])
    address = model.address(SOON)
    assert model._run
    assert model._run.child

    os.kill(model._run.child.pid, signal.SIGSTOP)
    assert is_reached("unresponsive", model)
    os.kill(model._run.child.pid, signal.SIGCONT)

    assert is_reached("ready", model)
    assert (model.current_address(), model.reason) == (address, None)


@pytest.mark.usefixtures("quick")
def test_children_that_hang_one_after_the_other_are_a_failure_with_that_reason(
    models: list[LocalModel], tmp_path: Path
) -> None:
    model = started(models, counting(tmp_path / "log", SILENT))

    assert is_reached("failed", model)
    assert "does not answer, however often it is started" in str(model.reason)
    assert (tmp_path / "log").read_text() == "xxx"


def test_a_child_without_a_monitor_is_ended_and_reported(
    models: list[LocalModel], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> float:
        raise RuntimeError("no time")

    model = LocalModel(command=command(READY), clock=broken)
    models.append(model)

    model.start()

    assert is_reached("failed", model)
    assert "cannot be looked after" in unavailable(model)
    assert "supervision_failed" in caplog.text
    assert model._run
    assert model._run.thread
    assert model._run.child
    model._run.thread.join(SOON)
    assert model._run.child.ended.is_set()


PARENT = """
import os, sys
from backend.local_model import LocalModel
model = LocalModel(command=[sys.executable, "-c", sys.argv[1]])
model.start()
model.address(20)
print(model._run.child.pid, flush=True)
sys.stdin.read()
"""
WITH_PARENT = f"from backend.local_model.server import exit_with_parent\nexit_with_parent()\n{WELL}"
ELSEWHERE = f"import sys; sys.platform = 'darwin'\n{WITH_PARENT}".replace(
    "sys.stdin.read()", "threading.Event().wait()"
)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere nothing ends what is stopped, and there is no pidfd"
)
@pytest.mark.parametrize(
    ("script", "is_stopped"), [(WITH_PARENT, True), (ELSEWHERE, False)], ids=["stopped", "deaf to its stdin"]
)
def test_no_child_outlives_a_parent_that_was_killed(script: str, is_stopped: bool) -> None:  # noqa: FBT001
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-c", PARENT, script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        born = os.pidfd_open(pid)
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)

        parent.kill()

        is_gone = bool(select.select([born], [], [], SOON)[0])
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(born, signal.SIGKILL)

    os.close(born)
    assert is_gone


def test_names_distinguish_the_demo_model_from_a_file_of_ones_own() -> None:
    demo, own = LocalModel(), LocalModel(Path("models/qwen-0.5b.Q4.gguf"))

    assert (demo.model_name, demo.label) == ("smollm2-135m-instruct", "SmolLM2-135M (built-in demo model)")
    assert (own.model_name, own.label) == ("qwen-0.5b.Q4", "qwen-0.5b.Q4 (your local model)")
    assert own.gguf == Path.cwd() / "models/qwen-0.5b.Q4.gguf"


def test_parent_and_child_agree() -> None:
    """The child imports nothing of ours, so what both know is written twice."""
    assert (child.CANNOT_START, DEMO_NAME) == (server.CANNOT_START, server.DEMO_NAME)


def test_five_restarts_with_growing_pauses() -> None:
    assert tuple(sorted(PAUSES)) == PAUSES
    assert (len(PAUSES), PAUSES[0], PAUSES[-1]) == (5, 0.5, 30.0)


ENDS_WITH_STDIN = """
import json, os, sys
print(json.dumps({"base_url": "http://127.0.0.1:1/v1"}), flush=True)
sys.stdin.read()
open(sys.argv[1], "w").close()
"""


def test_a_forked_child_has_no_model_until_it_starts_one(models: list[LocalModel]) -> None:
    model = started(models, command(READY))
    model.address(SOON)

    def told() -> list[object]:
        before = model.state, model.current_address()
        model.start()
        model.address(SOON)
        after = model.state
        model.stop()
        return [*before, after]

    assert in_child(told) == ["stopped", None, "ready"]
    assert model.state == "ready"


def test_a_forked_child_keeps_no_model_alive(models: list[LocalModel], tmp_path: Path) -> None:
    model = started(models, command(ENDS_WITH_STDIN, str(tmp_path / "ended")))
    model.address(SOON)
    stopped, stop = os.pipe()

    child = fork(lambda: len(os.read(stopped, 1)))
    model.stop()

    assert (tmp_path / "ended").exists()
    os.write(stop, b"x")
    assert child.result() == 1
    os.close(stopped)
    os.close(stop)
