"""X17: what a person reads is what would run, and nothing in it acts or hides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.agents.canonical import (
    parse_json_object,
    replace_unstorable_characters,
    sha256_of_json,
    to_canonical_json,
)
from backend.agents.confirmations import Confirmation
from backend.agents.events import confirmation_to_json
from backend.agents.observations import ToolError, observation_from_exception, observation_from_result
from backend.agents.rendering import LONGEST, MOST_LINES, escape_to_one_line, render_argument_lines
from backend.agents.tools import InvalidArgumentsError, tool


def rendered(**arguments: Any) -> list[tuple[str, str]]:
    return [(line.name, line.text) for line in render_argument_lines(to_canonical_json(arguments))]


def test_every_argument_stands_on_a_line_of_its_own() -> None:
    found = rendered(to={"name": "Ana", "more": [1, None]}, text="Hi", empty=[])

    assert found == [
        ("empty", "[]"),
        ("text", "Hi"),
        ("to.more.0", "1"),
        ("to.more.1", "null"),
        ("to.name", "Ana"),
    ]


@pytest.mark.parametrize(
    "hidden",
    [
        "\u202e",
        "\u200b",
        "\x1b[2J",
        "\n",
        "\r",
        "\u2066",
        "\ufeff",
        "\u00ad",
        "\u3164",
        "\U000e0041",
        "\x00",
        "\ud800",
    ],
    ids=lambda text: f"{ord(text[0]):x}",
)
def test_what_acts_or_hides_is_written_out_and_marked(hidden: str) -> None:
    (line,) = render_argument_lines(to_canonical_json({"path": f"a{hidden}b"}))

    assert (hidden in line.text, line.is_hiding, "\\" in line.text) == (False, True, True)


@pytest.mark.parametrize("hidden", ["\u200b", "\U000e0041", "\U000e01ef", "\u202e"])
def test_a_model_is_told_nothing_that_no_person_would_see(hidden: str) -> None:
    text = f"a{hidden}b"

    for found in (
        observation_from_result(text),
        observation_from_result({"said": text}),
        observation_from_exception(ToolError(text)),
    ):
        assert (hidden in found.content, "a\\" in found.content) == (False, True)


def test_what_scripts_and_emoji_are_joined_by_is_told_as_it_is() -> None:
    text = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f468\u200d\U0001f469 \u2764\ufe0f"

    assert observation_from_result(text).content == text


def test_a_name_can_hide_nothing_either() -> None:
    ((name, _),) = rendered(**{"a\u202eb": 1})

    assert name == "a\\u202eb"


def test_letters_of_any_language_are_shown_as_they_are() -> None:
    assert escape_to_one_line("Grüße an Łukasz, 東京, नमस्ते") == "Grüße an Łukasz, 東京, नमस्ते"


def test_a_long_text_is_cut_and_says_how_much_is_left_out() -> None:
    (line,) = render_argument_lines(to_canonical_json({"text": "x" * (LONGEST + 7)}))
    (whole,) = render_argument_lines(to_canonical_json({"text": "x" * (LONGEST + 7)}), untruncated=True)

    assert (len(line.text), line.left_out, whole.left_out) == (LONGEST, 7, 0)


@pytest.mark.parametrize("arguments", [{"text": "x" * 3_000}, {"numbers": list(range(100))}])
def test_nobody_can_say_yes_to_what_was_cut(arguments: Any) -> None:
    """X17: a yes names the digest, which is told with all of the arguments alone."""
    facts: Any = ("id", "acme", "ann", "clerk", "run", "1.0", 0, "delete", "Delete", "dangerous", "d", "t")
    one = Confirmation._make((*facts, to_canonical_json(arguments), "digest", 0, 1, "pending", *7 * [None]))

    cut, uncut = confirmation_to_json(one), confirmation_to_json(one, untruncated=True)

    assert (cut["is_cut"], cut["digest"]) == (True, None)
    assert (uncut["is_cut"], uncut["digest"]) == (False, "digest")
    assert sum(len(line["text"]) for line in uncut["arguments"]) >= 190
    assert not any(line["left_out"] for line in uncut["arguments"])


def test_ten_thousand_lines_stay_on_one_and_ten_thousand_arguments_are_counted() -> None:
    (line,) = render_argument_lines(to_canonical_json({"text": "\n" * 10_000}))
    many = render_argument_lines(to_canonical_json({"items": list(range(10_000))}))

    assert ("\n" in line.text, len(many), many[-1].text) == (
        False,
        MOST_LINES + 1,
        f"{10_000 - MOST_LINES} more arguments",
    )


def test_one_value_has_one_text_and_one_digest() -> None:
    one, other = json.loads('{"a":1,"b":[1.5,"é"]}'), json.loads('{ "b" : [1.5, "\\u00e9"], "a" : 1 }')

    assert (to_canonical_json(one), sha256_of_json(one)) == (to_canonical_json(other), sha256_of_json(other))
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": "1"})


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a":NaN}', "[]", "null", "{", '{"a":' * 9_999])
def test_what_is_not_read_alike_by_everybody_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_json_object(text)


def test_what_no_database_takes_is_marked() -> None:
    assert replace_unstorable_characters({"a\0": ["b\ud800", 1, None]}) == {"a\ufffd": ["b\ufffd", 1, None]}


def test_defaults_are_part_of_what_is_shown() -> None:
    def send(text: str, copies: int = 2) -> str:
        """Send something."""
        return text * copies

    assert tool(send).validate_arguments({"text": "a"}) == '{"copies":2,"text":"a"}'


def test_a_parameter_without_a_type_is_no_tool() -> None:
    def send(text) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
        """Send something."""
        return str(text)

    with pytest.raises(TypeError, match="text needs a type"):
        tool(send)


def test_a_tool_tells_in_its_faults_nothing_that_was_given() -> None:
    def send(number: int) -> str:
        """Send something."""
        return str(number)

    with pytest.raises(InvalidArgumentsError) as refused:
        tool(send).validate_arguments({"number": "sk-canary-of-somebody"})

    assert "sk-canary" not in str(refused.value)
