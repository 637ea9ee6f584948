"""Requests that nobody would think of, made from the description of the API, to every operation of it.

    PYTHONPATH=. .venv/bin/python -m benchmarks.api --examples 200    # or: make api

Schemathesis makes them, valid and invalid ones, and looks at the answers by all of its checks but one: that what its schema allows
is accepted, because no schema says which names there are. Prints what is wrong; exit code 1 if anything is. Some minutes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from backend.main import create_app
from backend.settings import Settings
from backend.tests.fakes.edges import loopback_edge
from backend.utils.llm.testing import LoopbackProvider, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.tests.fakes.edges import Edge

EXAMPLES: Final = 200
_NOT_MEANT: Final = frozenset({"positive_data_acceptance"})
_MEANT: Final = {("/readyz", 503)}
"""What a busy machine is told."""
_MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_SECONDS: Final = 20


class Finding(NamedTuple):
    """What is wrong with an answer."""

    operation: str
    check: str
    status: int
    text: str


def findings(edge: Edge, examples: int, folder: Path) -> Iterator[Finding]:
    """What is wrong with the answers of a service to so many requests of each kind to each operation."""
    document = create_app(Settings(_env_file=None, data_dir=folder)).openapi()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=edge.origin)
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in _NOT_MEANT]
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # a description that is wrong ends this
        for mode in _MODES:
            yield from _found(operation, mode, checks, edge, examples)


def _found(
    operation: Any, mode: GenerationMode, checks: list[Any], edge: Edge, examples: int
) -> list[Finding]:
    found: list[Finding] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        headers = {"Authorization": f"Bearer {edge.token}"}
        answer = case.call(headers=headers, timeout=_SECONDS)
        try:
            case.validate_response(answer, checks=checks, headers=headers)
        except FailureGroup as group:
            if (operation.path, answer.status_code) in _MEANT:
                return
            errors = [error for error in group.exceptions if not _is_a_text(error)]
            found.extend(_finding(operation, error, answer.status_code) for error in errors)

    with suppress(Unsatisfiable):  # nothing of it can be invalid
        ask()
    return found


def _is_a_text(error: BaseException) -> bool:
    """Whether all that is invalid is a type in a query, where everything is a text, and an empty object nothing at all."""
    is_accepted = type(error).__name__ == "AcceptedNegativeData"
    return is_accepted and re.search("query: violates `(type|anyOf)`", str(error)) is not None


def _finding(operation: Any, error: BaseException, status: int) -> Finding:
    return Finding(f"{operation.method.upper()} {operation.path}", type(error).__name__, status, str(error))


def main() -> int:
    """Ask, and print what is wrong."""
    parser = argparse.ArgumentParser(prog="benchmarks.api", description=__doc__)
    parser.add_argument(
        "--examples", type=int, default=EXAMPLES, help="requests of each kind to each operation"
    )
    examples = parser.parse_args().examples
    with LoopbackProvider() as provider, tempfile.TemporaryDirectory() as folder:
        provider.always(Text("A short answer."))
        with loopback_edge(provider, Path(folder), table="backend/llm.toml") as edge:
            found = list(findings(edge, examples, Path(folder)))
    counts = Counter((finding.operation, finding.check, finding.status) for finding in found)
    texts = {(finding.operation, finding.check, finding.status): finding.text for finding in found}
    for what, count in sorted(counts.items()):
        print(f"{count} times {what[0]}: {what[2]}, {what[1]}\n{texts[what]}\n")
    print(f"{len(found)} findings.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
