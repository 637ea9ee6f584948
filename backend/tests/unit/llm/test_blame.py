"""What one request did wrong is not held against what others share: the key, and the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

import pytest

from backend.keys.problem import classify_key_refusal
from backend.tests.fakes.work import stays_within
from backend.utils.llm.caller import Caller, use_caller
from backend.utils.llm.errors import LLMError, RefusedError, RejectedCredentialError, RejectedRequestError
from backend.utils.llm.failures import POLICY, FailureCategory, classify_failure
from backend.utils.llm.failures.evidence import collect_evidence
from backend.utils.llm.failures.rows import OF_THE_REQUEST
from backend.utils.llm.options import Api
from backend.utils.llm.testing import Raw, StreamError, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay
from backend.utils.llm.transport import ObservedExchange

from .error_bodies import ALL, BODIES, CONTENT, EVENTS, KEY, MALFORMED, MODEL, REQUEST, SILENT, Told
from .samples import receipt
from .test_failure_table import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.utils.llm.patchbay import Patchbay
    from backend.utils.llm.testing import LoopbackProvider
    from backend.utils.llm.testing.virtual_time import VirtualTime

    from .drivers import Driver


CHAT, RESPONSES, GEMINI = "openai:gpt-6-luna", "openai:gpt-6.1-sol", "gemini:gemini-3.5-flash-lite"
FEATURES = {
    "chat": CHAT,
    "responses": RESPONSES,
    "gemini": GEMINI,
    "anthropic": "anthropic:claude-sonnet-5-5",
    "chain": [GEMINI, CHAT],
    "retold": [CHAT, GEMINI],
}
APIS = ["chat", "responses", "gemini", "anthropic"]
MORE = (
    f'[models."{RESPONSES}"]\napi_mode = "responses"\n'
    '[features.chain]\nhouse_fallback = true\n[features.retold]\non_refusal = "next"\n'
)


@pytest.fixture
def patchbay(provider: LoopbackProvider, virtual: VirtualTime) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, FEATURES, MORE, time=virtual.time)
    yield made
    made.close()


def raw(told: Told) -> Raw:
    assert told.status is not None
    return Raw(told.status, told.body, "application/json" if told.body[:1] in {"{", "["} else "text/html")


def name(told: Told) -> str:
    return f"{told.provider} {ALL.index(told)} {told.category}"


def cooled(category: FailureCategory) -> str:
    health = POLICY[category].health
    return health.removeprefix("cool ") if health.startswith("cool ") else ""


@pytest.mark.parametrize("told", BODIES, ids=name)
def test_every_known_error_is_understood_on_every_wire(told: Told) -> None:
    wire = ObservedExchange(status=told.status, error_body=told.body.encode(), sent_at=0.0)

    found = {api: classify_failure(ValueError(), wire, api, now=NOW).category for api in get_args(Api)}

    assert found == dict.fromkeys(get_args(Api), told.category)


def test_what_speaks_of_the_key_the_model_and_the_rate_is_left_alone_and_nothing_else() -> None:
    assert {told.category: cooled(told.category) for told in BODIES if cooled(told.category)} == {
        FailureCategory.CREDENTIAL: "key",
        FailureCategory.QUOTA: "key",
        FailureCategory.MODEL_QUOTA: "endpoint",
        FailureCategory.MODEL_NOT_FOUND: "endpoint",
        FailureCategory.RATE_LIMIT: "endpoint",
    }


SAID = [
    told for told in (*CONTENT, *REQUEST, *MODEL) if told.body[:1] == "{" and told.status in OF_THE_REQUEST
]


@pytest.mark.parametrize("held", ["whole", "what stands under error"])
@pytest.mark.parametrize("told", [*SAID, *EVENTS], ids=name)
def test_an_event_of_a_stream_that_began_well_is_blamed_alike(told: Told, held: str) -> None:
    body = json.loads(told.body)
    said = body if held == "whole" or not isinstance(body.get("error"), dict) else body["error"]
    error = ValueError()
    error.body = {**said, "status": told.status} if told.status else said  # type: ignore[attr-defined]

    found = classify_failure(error, ObservedExchange(status=200, sent_at=0.0), "openai", now=NOW)

    assert found.category is told.category


@pytest.mark.parametrize("api", APIS)
def test_one_callers_rejected_content_affects_no_other_caller(
    patchbay: Patchbay, provider: LoopbackProvider, call: Driver, api: str
) -> None:
    model = patchbay.get_llm(api)
    for told in (*CONTENT, *REQUEST):
        provider.script(raw(told), Text("served"))

        with pytest.raises(RefusedError if told in CONTENT else RejectedRequestError):
            call(model, "A")

        assert call(model, "B").text == "served", told


@pytest.mark.parametrize("api", APIS)
def test_an_error_in_a_stream_is_blamed_alike(
    patchbay: Patchbay, provider: LoopbackProvider, stream: Driver, api: str
) -> None:
    model = patchbay.get_llm(api)
    for told in (*CONTENT, *REQUEST):
        body = json.loads(told.body) if told.body[:1] == "{" else {}
        if not isinstance(body.get("error"), dict):
            continue
        error = {"code": told.status, **body["error"], "status": told.status}
        provider.script(StreamError(after_chunks=0, text="", error=error), Text("served"))

        with pytest.raises(LLMError) as caught:
            stream(model, "A")

        assert [attempt.category for attempt in caught.value.attempts] == [told.category], told
        assert stream(model, "B").text == "served", told


@pytest.mark.parametrize("told", SILENT, ids=name)
@pytest.mark.parametrize("api", APIS)
def test_silence_blames_neither_key_nor_model(
    patchbay: Patchbay, provider: LoopbackProvider, told: Told, api: str
) -> None:
    model = patchbay.get_llm(api)
    provider.script(raw(told), Text("served"))

    with pytest.raises(RejectedRequestError):
        model.invoke("A")

    assert model.invoke("B").text == "served"


@pytest.mark.parametrize("told", [*SILENT[::4], *REQUEST], ids=name)
def test_the_next_endpoint_is_asked(
    patchbay: Patchbay, provider: LoopbackProvider, told: Told, call: Driver
) -> None:
    provider.script(raw(told), Text("from the next"))

    message = call(patchbay.get_llm("chain"), "A")

    assert message.text == "from the next"
    assert receipt(message)["attempts"][0]["category"] == told.category


@pytest.mark.parametrize("told", MALFORMED, ids=name)
def test_what_no_endpoint_would_take_ends_the_call(
    patchbay: Patchbay, provider: LoopbackProvider, told: Told, call: Driver
) -> None:
    provider.script(raw(told), Text("from the next"))

    with pytest.raises(RejectedRequestError, match="malformed"):
        call(patchbay.get_llm("chain"), "A")


@pytest.mark.parametrize(
    "body", ["", "Bad Request", '{"error": {"message": "Invalid request"}}', "<html></html>"]
)
@pytest.mark.parametrize("status", [400, 405, 415, 422, 431])
def test_who_turns_a_request_away_without_saying_why_is_alive_and_the_next_is_asked(
    patchbay: Patchbay, provider: LoopbackProvider, status: int, body: str
) -> None:
    provider.script(Raw(status, body, "text/plain"), Text("from the next"), Text("served"))
    model = patchbay.get_llm("chain")

    assert model.invoke("A").text == "from the next"
    assert receipt(model.invoke("B"))["attempts"][0]["endpoint"] == GEMINI


def test_a_refusal_goes_on_only_if_the_feature_allows(patchbay: Patchbay, provider: LoopbackProvider) -> None:
    provider.script(raw(CONTENT[0]), Text("from the next"))

    assert patchbay.get_llm("retold").invoke("A").text == "from the next"


def test_an_endpoint_that_turns_away_one_call_after_another_is_left_alone_for_a_while(
    patchbay: Patchbay, provider: LoopbackProvider, virtual: VirtualTime
) -> None:
    provider.always(Text("from the next"))
    model = patchbay.get_llm("chain")
    for _ in range(5):
        provider.script(raw(SILENT[0]))
        model.invoke("hi")
    sent = len(provider.requests)

    model.invoke("hi")

    assert len(provider.requests) == sent + 1
    virtual.sleep(31)
    assert receipt(model.invoke("hi"))["attempts"][0]["endpoint"] == GEMINI


@pytest.mark.parametrize("told", [*KEY, *MODEL], ids=name)
def test_an_error_of_the_key_or_the_model_holds_for_all_callers(
    patchbay: Patchbay, provider: LoopbackProvider, told: Told
) -> None:
    provider.always(Text("from the next"))
    model = patchbay.get_llm("chain")
    provider.script(raw(told))
    model.invoke("A")
    sent = len(provider.requests)

    model.invoke("B")

    assert len(provider.requests) == sent + 1


ANN = Caller(user_id="ann", keys={"openai": "sk-of-ann", "gemini": "sk-of-ann-too"})


@pytest.mark.parametrize("told", [*CONTENT, *REQUEST, *SILENT], ids=name)
@pytest.mark.parametrize("api", ["chat", "gemini"])
def test_a_users_good_key_is_neither_refused_nor_a_problem(
    patchbay: Patchbay, provider: LoopbackProvider, told: Told, api: str
) -> None:
    provider.script(raw(told))

    with use_caller(ANN), pytest.raises(LLMError) as caught:
        patchbay.get_llm(api).invoke("A")

    assert not isinstance(caught.value, RejectedCredentialError)
    assert [classify_key_refusal(attempt) for attempt in caught.value.attempts] == [None]


def test_the_house_does_not_pay_where_a_users_key_was_turned_away_without_a_word(
    patchbay: Patchbay, provider: LoopbackProvider
) -> None:
    provider.always(Raw(403, "", "text/html"))
    ann = Caller(user_id="ann", keys={"gemini": "sk-of-ann"}, key_policy="byok_then_house")

    with use_caller(ann), pytest.raises(LLMError):
        patchbay.get_llm("chain").invoke("A")

    assert {request.key for request in provider.requests} == {"sk-of-ann"}


@pytest.mark.parametrize(
    "words",
    [
        "Invalid value: 'The API key has been revoked and the account is suspended.'",
        'Unknown name "the model was not found": Cannot find it.',
        "Unexpected text: `Insufficient balance. Your credit balance is too low.`",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_callers_text_quoted_by_an_error_blames_nothing(status: int, words: str) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    wire = ObservedExchange(status=status, error_body=body, sent_at=0.0)

    assert cooled(classify_failure(ValueError(), wire, "openai", now=NOW).category) == ""


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Could not download https://x/virtual network.png"),
        (403, "The prompt attack a virtual network was rejected"),
        (422, "Input should be a valid string: how do I move an app at the end of its life?"),
        (404, "No such file: a product at the end of its life.pdf"),
        (400, "Invalid schema: marked by provider as legacy"),
        (400, "Could not read: which model of phone requires terms"),
        (403, "Rejected: how many tokens per day do I use on the free quota tier?"),
        (403, "Rejected: what does free-models-per-day mean?"),
        (403, "Rejected: explain [limits, limit: 0, model: mine]"),
        (403, "Rejected: who may set inference limit for the house?"),
        (403, "Rejected: how good is the free tier of the model?"),
    ],
)
def test_callers_text_that_an_error_repeats_without_quotes_blames_nothing(status: int, words: str) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    wire = ObservedExchange(status=status, error_body=body, sent_at=0.0)

    assert cooled(classify_failure(ValueError(), wire, "openai", now=NOW).category) == ""


@pytest.mark.parametrize(
    ("told", "category"),
    [
        ('Failed: {"error": {"message": "prompt is too long", "code": "1"}} (reset after 30s)', "context"),
        (
            'Exception - b\'{"type":"error","error":{"message":"prompt is too long"}}\'. Fallbacks=None',
            "context",
        ),
        ("Error code: 400 - {'error': {'message': 'prompt is too long', 'param': None}}", "context"),
        ('data: {"error":{"message":"prompt is too long"}}', "context"),
        ("Error code: 400 - {'error': {'message': 'prompt is too lo", "unsupported"),
        ('Invalid value: \'{"error": {"message": "The API key has been revoked."}}\'.', "unsupported"),
        ('Unexpected "text": {"message": "The API key has been revoked."}', "unsupported"),
        ("{" * 3000 + "}" * 3000, "unsupported"),
        ("x {" + "[" * 900 + "]" * 900 + "}", "unsupported"),
    ],
)
def test_an_error_that_a_gateway_wrote_behind_words_of_its_own_is_read_unless_it_is_quoted(
    told: str, category: str
) -> None:
    body = json.dumps({"error": {"message": told}}).encode()
    wire = ObservedExchange(status=400, error_body=body, sent_at=0.0)

    assert classify_failure(ValueError(), wire, "openai", now=NOW).category == category


@pytest.mark.parametrize("code", [1004, 1026, 1027, 1039, 1041, 2045, 2049])
def test_a_number_of_minimaxs_means_nothing_where_minimax_does_not_send_it(code: int) -> None:
    wire = ObservedExchange(status=400, error_body=json.dumps({"status_code": code}).encode(), sent_at=0.0)

    assert classify_failure(ValueError(), wire, "openai", now=NOW).category is FailureCategory.UNSUPPORTED


@pytest.mark.parametrize(
    "body",
    [
        {"base_resp": {"status_msg": "invalid api key"}},
        {"Response": {"Error": {"Message": "invalid api key"}}},
        {"title": "invalid api key"},
        {"status": "invalid api key"},
        {"details": {"error": {"message": "invalid api key"}}},
        {"error_description": "invalid api key"},
    ],
)
def test_prose_is_found_under_whatever_name_it_has(body: object) -> None:
    wire = ObservedExchange(status=403, error_body=json.dumps(body).encode(), sent_at=0.0)

    assert classify_failure(ValueError(), wire, "openai", now=NOW).category is FailureCategory.CREDENTIAL


@pytest.mark.parametrize(
    ("words", "category"),
    [
        ("プロンプトがコンテキスト長を超えています", "context"),
        ("輸入內容過長", "context"),
        ("不適切なコンテンツが検出されました", "refusal"),
        ("內容審核未通過", "refusal"),
        ("您的套餐额度已用完", "quota"),
        ("クレジットが不足しています", "quota"),
        ("APIキーが無効です", "credential"),
        ("账户已被冻结", "credential"),
        ("该模型已下线", "model_not_found"),
        ("モデルが見つかりません", "model_not_found"),
        ("无效的模型参数", "unsupported"),
        ("temperature is greater than the maximum of 2", "unsupported"),
        ("max_tokens is greater than the maximum of 8192", "unsupported"),
        ("Images larger than the maximum of 20 MB are not accepted.", "unsupported"),
    ],
)
def test_words_tell_in_other_languages_too_and_mean_no_more_than_they_say(words: str, category: str) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    wire = ObservedExchange(status=400, error_body=body, sent_at=0.0)

    assert classify_failure(ValueError(), wire, "openai", now=NOW).category == category


@pytest.mark.parametrize(
    "word",
    sorted(
        {
            "model ",
            "content ",
            "tokens ",
            "request ",
            "max_tokens ",
            "try again in 1h ",
            "'",
            "{",
            "1h",
            "account ",
        }
    ),
)
def test_no_text_is_expensive_to_classify(word: str) -> None:
    body = json.dumps({"error": {"message": (word * 5000)[:50_000]}}).encode()
    wire = ObservedExchange(status=400, error_body=body, sent_at=0.0)

    assert stays_within(0.3, lambda: classify_failure(ValueError(), wire, "openai", now=NOW))


def test_of_an_error_that_is_a_thicket_of_errors_little_is_read() -> None:
    keys = ("error", "errors", "innererror", "metadata", "message", "detail")
    thicket = {a: {b: {c: {"code": f"{a} {b} {c}"} for c in keys} for b in keys} for a in keys}
    body = json.dumps(thicket).encode()

    seen = collect_evidence(
        ValueError(), ObservedExchange(status=403, error_body=body, sent_at=0.0), "openai"
    )

    assert 0 < len(seen.codes) <= 16


def test_of_many_details_of_one_error_the_first_are_read() -> None:
    """Each code is held against each row of the table: hundreds of them would keep an event loop for milliseconds."""
    details = [{"reason": f"REASON_{number}"} for number in range(900)]
    body = json.dumps({"error": {"message": "no", "details": details}}).encode()

    seen = collect_evidence(
        ValueError(), ObservedExchange(status=400, error_body=body, sent_at=0.0), "gemini"
    )

    assert "reason_0" in seen.codes
    assert len(seen.codes) < 20


USED_UP = next(
    told for told in BODIES if told.provider == "google" and told.category is FailureCategory.MODEL_QUOTA
)


def test_a_key_that_has_used_up_its_quota_of_one_model_serves_with_another(
    provider: LoopbackProvider, virtual: VirtualTime, call: Driver
) -> None:
    chain = {"chain": ["gemini:gemini-3.8-flash", GEMINI], "gemini": GEMINI}
    patchbay = loopback_patchbay(provider, chain, time=virtual.time)
    provider.always(raw(USED_UP), model="gemini-3.8-flash")
    provider.always(Text("served"))

    assert [call(patchbay.get_llm(name), "hi").text for name in ("chain", "gemini", "chain")] == [
        "served"
    ] * 3

    assert [request.model for request in provider.requests].count("gemini-3.8-flash") == 1
    patchbay.close()
