"""What `get_llm` costs when it has been called before, beside what any look-up costs."""

from __future__ import annotations

from timeit import Timer

from backend.utils.llm import Caller, get_llm, use_caller

from .peers.ours import FEATURE

TIMES, ROUNDS = 1_000, 101


def lookups() -> dict[str, float]:
    """Nanoseconds of a look-up in a dictionary, of `get_llm`, and of `get_llm` for a caller with keys: best of rounds."""
    names = {"get_llm": get_llm, "feature": FEATURE, "models": {FEATURE: get_llm(FEATURE)}}
    timers = {
        "dict": Timer("models[feature]", globals=names),
        "get_llm": Timer("get_llm(feature)", globals=names),
    }
    best = {name: min(_rounds(timer)) for name, timer in timers.items()}
    with use_caller(Caller(user_id="ann", keys={"openai": "sk-of-ann"})):
        best["with_keys"] = min(_rounds(timers["get_llm"]))
    return best


def _rounds(timer: Timer) -> list[float]:
    return [seconds / TIMES * 1e9 for seconds in timer.repeat(ROUNDS, TIMES)]
