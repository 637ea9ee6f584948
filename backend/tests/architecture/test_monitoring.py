"""The dashboard, the alerts and the reference ask for metrics that there are, by labels that they have."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backend.ledger.shipper import Shipper
from backend.ledger.spool import Spool
from backend.metrics import AttemptMetrics
from backend.routers.metrics import render_feature_table_metrics
from backend.tests.fakes.records import record
from backend.tests.fakes.services import FakeFacade
from backend.tests.fakes.spools import MemoryLedgerStore
from backend.utils.llm.diagnostics.health import HealthInfo
from backend.utils.llm.diagnostics.qos import FeatureInfo, QosInfo, TrialInfo
from backend.utils.llm.diagnostics.retirements import RetirementImpact
from backend.utils.llm.failures import FailureCategory
from backend.utils.llm.state.health import Circuit, HealthChange
from backend.watchers import LedgerMetrics

from .names import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

QOS = (ROOT / "docs" / "reference" / "qos.md").read_text(encoding="utf-8")
MONITORING = ROOT / "docs" / "monitoring"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
METRIC = re.compile(r"patchbay_\w+")
SELECTOR = re.compile(r"(patchbay_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"by \(([^)]*)\) \((.*)", re.DOTALL)
OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


@cache
def exposed() -> dict[str, dict[str, set[str]]]:
    """Every sample that ``/metrics`` can have, with the values of its labels here."""
    metrics, now = AttemptMetrics(), datetime(2026, 11, 21, tzinfo=UTC)
    spool = Spool(Path("nowhere"))
    LedgerMetrics(metrics.registry, spool, Shipper(spool, MemoryLedgerStore()))
    for outcome in ("ok", "failed"):
        metrics.append(record(outcome=outcome, first_token=1))
    metrics.record_health_change(
        HealthChange("opened", Circuit("openai:m", "k"), FailureCategory.SERVER, 30.0, 5)
    )
    rests = [
        HealthInfo(
            endpoint="openai:m",
            key_owner="house",
            account=None,
            state=state,
            category=FailureCategory.SERVER,
            reason="",
            since=now,
            until=now,
            failures=5,
        )
        for state in ("open", "cooling", "probing", "half open")
    ]
    leaves = RetirementImpact(
        endpoint="openai:m", day=date(2026, 12, 11), days=20, replacement=None, features=(), profiles=()
    )
    arm = TrialInfo(
        feature="f", arm="control", requests=7, failed=2, mean_s=None, mean_cost_usd=None, stopped=None
    )
    told = {"health": tuple(rests), "retirements": (leaves,), "trials": (arm,)}
    qos = FakeFacade().get_qos_info().model_copy(update=told)
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(
        render_feature_table_metrics(qos) + generate_latest(metrics.registry).decode()
    ):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def panels() -> list[dict[str, Any]]:
    return list(json.loads((MONITORING / "grafana.json").read_text(encoding="utf-8"))["panels"])


def expressions() -> Iterator[str]:
    """All that the dashboard and the alerts ask."""
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_query_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    asked = SELECTOR.findall(expression)
    assert asked
    for metric, matchers in asked:
        labels = exposed()[metric]
        for label, value in MATCHER.findall(matchers):
            assert label in labels, f"{metric} has no label {label}"
            assert "$" in value or label == "key_owner" or value in labels[label]
    for labels_of_a_group, rest in GROUPED.findall(expression):
        (metric, _), *_ = SELECTOR.findall(rest)
        assert {label.strip() for label in labels_of_a_group.split(",")} <= set(exposed()[metric])


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_a_legend_names_labels_by_which_its_query_groups(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        grouped = {
            label.strip() for group, _ in GROUPED.findall(target["expr"]) for label in group.split(",")
        }
        assert named <= grouped


def test_panels_lie_beside_each_other_and_each_is_told_apart() -> None:
    places = [panel["gridPos"] for panel in panels()]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels()}) == len(places)


def test_the_reference_names_every_metric_and_no_other() -> None:
    section = REFERENCE.read_text(encoding="utf-8").partition("## OpenTelemetry")[0]
    documented = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in METRIC.findall(line.split("|")[1])
    }
    names = {re.sub("|".join(f"{end}$" for end in OF_A_HISTOGRAM), "", name) for name in exposed()}

    assert documented == names


@pytest.mark.parametrize("metric", sorted(exposed()))
def test_the_reference_names_the_labels_of_each_metric(metric: str) -> None:
    family = re.sub("|".join(f"{end}$" for end in OF_A_HISTOGRAM), "", metric)
    (row,) = (line for line in REFERENCE.read_text(encoding="utf-8").splitlines() if f"`{family}`" in line)

    assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == set(exposed()[metric]) - {"le"}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("# The table in force and its health: `get_qos_info()`", QosInfo),
        ("## A feature", FeatureInfo),
        ("## Unavailable endpoints and keys", HealthInfo),
    ],
)
def test_the_reference_names_every_field_of_the_table_in_force(heading: str, kind: type[BaseModel]) -> None:
    section = re.split(r"\n## ", f"\n{QOS}".partition(f"\n{heading}\n")[2])[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]

    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(kind.model_fields)


def test_the_reference_is_of_the_version_that_is_told() -> None:
    version = QosInfo.model_fields["schema_version"].default

    assert f"The version of this page is {version}." in QOS
