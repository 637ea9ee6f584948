from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backend.ledger.prices import TokenRates, UnusablePricesError, read_price_file

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
version = "2026-12"

[prices."openai:gpt-6-luna"]
input = 0.25
output = 2
cache_read = 0.025
"""
JSON = '{"version": "2026-12", "prices": {"openai:gpt-6-luna": {"input": 0.25, "output": 2, "cache_read": 0.025}}}'


@pytest.mark.parametrize(("name", "text"), [("prices.toml", TOML), ("prices.json", JSON)])
def test_a_file_of_prices_gives_pico_dollars_for_a_token(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)

    prices = read_price_file(path)

    assert prices.version == "2026-12"
    assert list(prices.to_token_rates()) == [
        TokenRates("openai:gpt-6-luna", 250_000, 2_000_000, 25_000, 250_000)
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "version"),
        ("version = 1.2.3", "cannot be read"),
        ('version = "a"\nprices = {}', "prices"),
        ('version = "a"\n[prices."a:b"]\ninput = 1', "output"),
        ('version = "a"\n[prices."a:b"]\ninput = -1\noutput = 1', "input"),
        ('version = "a"\n[prices."a:b"]\ninput = 1\noutput = 1\nfee = 1', "fee"),
    ],
)
def test_what_is_no_file_of_prices_is_told_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)

    with pytest.raises(UnusablePricesError, match=says) as told:
        read_price_file(path)

    assert "\n" not in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnusablePricesError, match="cannot be read"):
        read_price_file(tmp_path / "nothing.toml")


def test_a_price_finer_than_what_is_counted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('version = "a"\n[prices."a:b"]\ninput = 0.0000001\noutput = 1')

    with pytest.raises(UnusablePricesError, match="finer"):
        list(read_price_file(path).to_token_rates())
