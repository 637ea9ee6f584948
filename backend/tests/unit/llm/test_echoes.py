"""What an error repeats of a prompt is nobody's fault: no key, no model and no endpoint is left alone for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from backend.tests.fakes.work import stays_within
from backend.utils.llm.errors import LLMError
from backend.utils.llm.failures import POLICY, FailureCategory, classify_failure
from backend.utils.llm.failures.echoes import RequestTexts
from backend.utils.llm.testing import Raw, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import ObservedExchange

from .error_bodies import BODIES
from .test_failure_table import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.failures import ClassifiedFailure
    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider

    from .drivers import Driver

FEATURES = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-sol",
    "gemini": "gemini:gemini-3.5-flash-lite",
    "anthropic": "anthropic:claude-sonnet-5-5",
}
MORE = '[models."openai:gpt-6.1-sol"]\napi_mode = "responses"\n'
PROMPTS = [
    "My account has insufficient balance, what now?",
    "insufficient balance",
    "The API key has been revoked and the account is suspended.",
    "foo' insufficient balance 'bar",
    'he said "don\'t", and had insufficient funds',
    "Tell me of\ninsufficient\n\tfunds\nin a poem",
    "The model gpt-x was not found there",
    "degraded function cannot be invoked",
    "Is it true that payment is required?",
    "我的账号余额不足已被封禁怎么办",
    "余额不足",
    "余额不足怎么办",
    "我的密钥无效了吗",
]
ERRORS = [
    "{}",
    "Invalid input: {}",
    "Could not parse '{}' as content",
    "输入有误, {}",
    "Your project sent {} which cannot be read",
]


def body_with(prompt: str) -> bytes:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
    return json.dumps({"model": "some-model", "messages": messages}, ensure_ascii=False).encode()


def classified(status: int, told: object, prompt: str) -> ClassifiedFailure:
    error_body = (told if isinstance(told, str) else json.dumps(told)).encode()
    seen = ObservedExchange(status=status, error_body=error_body, sent_at=0.0, body_sent=body_with(prompt))
    return classify_failure(ValueError(), seen, "openai", now=NOW)


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, MORE)
    yield made
    made.close()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_a_prompt_that_an_error_repeats_blames_nothing_that_others_share(
    status: int, prompt: str, error: str
) -> None:
    found = classified(status, {"error": {"message": error.format(prompt)}}, prompt)

    assert not POLICY[found.category].health.startswith("cool")


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_error_of_a_server_that_repeats_a_prompt_is_the_servers(status: int, prompt: str) -> None:
    found = classified(status, {"error": {"message": f"Internal error at: {prompt}"}}, prompt)

    assert found.category is FailureCategory.SERVER


@pytest.mark.parametrize(
    "error",
    ["Could not parse: {}", "{}", "Provider said: {} (request 0)"],
    ids=["behind", "alone", "between"],
)
def test_a_code_in_json_that_an_error_repeats_blames_nothing(error: str) -> None:
    prompt = '{"error": {"code": "insufficient_quota", "message": "no credit"}}'

    found = classified(400, {"error": {"message": error.format(prompt)}}, f"Explain this: {prompt}")

    assert found.category is FailureCategory.UNSUPPORTED


def test_a_repeated_prompt_says_nothing_of_what_an_endpoint_lacks() -> None:
    prompt = "This model does not support tools, they say"
    told = {"error": {"message": f"Unreadable content: {prompt}"}}

    assert classified(400, told, "Hello?").lacks == "tools"
    assert classified(400, told, prompt).lacks is None


@pytest.mark.parametrize("prompt", ["Hello?", "My API key, my account, my balance, my model, not found."])
def test_what_providers_say_by_themselves_is_understood_whatever_was_asked(prompt: str) -> None:
    for told in BODIES:
        assert told.status is not None
        assert classified(told.status, told.body, prompt).category is told.category, told


def test_the_providers_own_words_count_beside_repeated_ones() -> None:
    prompt = "Say that I have insufficient balance, please"
    told = {"error": {"message": f"Your credit balance is too low to answer: {prompt}"}}

    assert classified(400, told, prompt).category is FailureCategory.QUOTA


@pytest.mark.parametrize("name", FEATURES)
def test_who_writes_what_providers_say_of_keys_keeps_nobody_else_from_them(
    patchbay: Patchbay, provider: LoopbackProvider, call: Driver, name: str
) -> None:
    model = patchbay.get_llm(name)
    for prompt in PROMPTS[::3]:
        error = {"error": {"message": f"Invalid content: {prompt}", "status": "INVALID_ARGUMENT"}}
        provider.script(Raw(400, json.dumps(error), "application/json"), Text("served"))

        with pytest.raises(LLMError):
            call(model, prompt)

        assert call(model, "Hello?").text == "served"


@pytest.mark.parametrize("name", FEATURES)
def test_the_last_message_is_at_the_end_of_a_request_where_errors_are_compared_with_it(
    patchbay: Patchbay, provider: LoopbackProvider, call: Driver, name: str
) -> None:
    tool = {
        "name": "look",
        "description": "lorem ipsum " * 6000,
        "parameters": {"type": "object", "properties": {}},
    }
    prompt = "why is my credit balance too low to use this"
    error = {"error": {"message": f"Invalid input: {prompt}", "status": "INVALID_ARGUMENT"}}
    provider.script(Raw(400, json.dumps(error), "application/json"), Text("served"))
    model = patchbay.get_llm(name)

    with pytest.raises(LLMError):
        call(
            model.bind_tools([{"type": "function", "function": tool}]),
            [("system", "Be brief. " * 4000), ("user", f"{'x ' * 40_000}{prompt}")],
        )

    assert call(model, "Hello?").text == "served"


def test_words_count_as_repeated_if_several_stand_in_one_text_or_all_of_a_short_one() -> None:
    sent = RequestTexts(body_with("We have a low balance, so what? It's\\u00fcber"))

    assert sent.remove_echoes("low balance") == "low balance"
    assert sent.remove_echoes("No: a low balance, so what?").split() == ["No:", ",", "?"]
    assert sent.remove_echoes("brief, Be brief.").split() == ["brief,", "."]
    assert sent.remove_echoes("some-model user content brief") == "some-model user content brief"


def test_of_a_long_request_both_ends_are_looked_at_and_that_is_cheap() -> None:
    prompt = f"my balance is insufficient now {'x ' * 500_000} my account was suspended then"

    for told in ("my balance is insufficient now", "my account was suspended then"):
        assert not RequestTexts(body_with(prompt)).remove_echoes(told).strip()
    assert stays_within(
        0.3, lambda: classified(400, {"error": {"message": "insufficient balance x " * 50}}, prompt)
    )


@pytest.mark.parametrize(
    "told", ["余额不足请充值吧" * 120, f"{{{'a b ' * 200}}}", "insufficient balance a b c " * 40]
)
def test_an_error_that_says_much_in_every_place_holds_nothing_up(told: str) -> None:
    prompt = "余额请求应该怎么办呢 the quick a b " * 4000
    error: dict[str, object] = {}
    for _ in range(6):
        error = {"error": error} | dict.fromkeys(
            ["message", "title", "detail", "raw", "msg", "error_msg"], told
        )

    assert stays_within(0.3, lambda: classified(400, error, prompt))


def test_what_a_provider_says_after_a_long_quotation_counts() -> None:
    told = {"error": {"message": f"Unreadable: '{'x ' * 450}'", "detail": "Your credit balance is too low."}}

    assert classified(400, told, "x " * 450).category is FailureCategory.QUOTA
