"""What the table adds to a request's body: a field of a vendor's own reaches it, and nothing that is ours, or a key, does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from backend.utils.llm.clients import explain, get_llm, use
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import Table, parse_table
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing.patchbays import loopback_table

from .drivers import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backend.utils.llm.testing import LoopbackProvider

    Driver = Callable[[Any, Any], Any]

KEYS = {"LOOPBACK_OPENAI_KEY": "house-key-of-openai", "LOOPBACK_GEMINI_KEY": "house-key-of-gemini"}
FEATURES = {
    "chat": "openai:gpt-6-luna",
    "responses": "openai:gpt-6.1-terra",
    "gemini": "gemini:gemini-3.5-flash-lite",
}
ROWS = """
[models."openai:gpt-6.1-terra"]
api_mode = "responses"
"""


class Person(BaseModel):
    name: str


def table(provider: LoopbackProvider, *, of_provider: str = "", more: str = "", name: str = "openai") -> str:
    text = loopback_table(provider, FEATURES, ROWS + more)
    head = f"[providers.{name}]"
    return text.replace(head, f"{head}\nextra_body = {of_provider}") if of_provider else text


def sent(provider: LoopbackProvider, text: str, call: Callable[[], object]) -> Mapping[str, Any]:
    """The body of the request that ``call`` sends."""
    with use(made := Patchbay(Table(text=text, environ=KEYS))):
        call()
        made.close()
    return provider.requests[-1].body


@pytest.fixture(params=DRIVERS, ids=lambda one: one.__name__)
def call(request: pytest.FixtureRequest) -> Driver:
    found: Driver = request.param
    return found


class TestSent:
    """It stands in the body of every request that it is for."""

    @pytest.mark.parametrize(
        ("feature", "name"), [("chat", "openai"), ("responses", "openai"), ("gemini", "gemini")]
    )
    def test_a_provider_s(self, feature: str, name: str, provider: LoopbackProvider, call: Driver) -> None:
        text = table(provider, of_provider="{ provider = { zdr = true, order = ['a'] } }", name=name)

        body = sent(provider, text, lambda: call(get_llm(feature), "hi"))

        assert body["provider"] == {"zdr": True, "order": ["a"]}

    def test_an_endpoint_s_goes_before_the_provider_s(self, provider: LoopbackProvider) -> None:
        more = '[models."openai:gpt-6-luna"]\nextra_body = { plugins = [1] }'
        text = table(provider, of_provider="{ plugins = [0], transforms = [] }", more=more)

        body = sent(provider, text, lambda: get_llm("chat").invoke("hi"))

        assert (body["plugins"], body["transforms"]) == ([1], [])

    def test_a_feature_s_goes_before_both_and_to_the_provider_that_it_names(
        self, provider: LoopbackProvider
    ) -> None:
        more = "[features.chat.extra_body]\nopenai = { plugins = [2] }\ngemini = { labels = { a = 'b' } }"
        text = table(provider, of_provider="{ plugins = [0] }", more=more)

        body = sent(provider, text, lambda: get_llm("chat").invoke("hi"))

        assert body["plugins"] == [2]
        assert "labels" not in body

    def test_another_feature_gets_none_of_it(self, provider: LoopbackProvider) -> None:
        text = table(provider, more="[features.chat.extra_body]\nopenai = { plugins = [2] }")

        assert "plugins" not in sent(provider, text, lambda: get_llm("responses").invoke("hi"))

    def test_it_is_merged_into_what_is_ours(self, provider: LoopbackProvider) -> None:
        text = table(
            provider,
            of_provider="{ generationConfig = { mediaResolution = 'MEDIA_RESOLUTION_LOW' } }",
            name="gemini",
            more="[features.gemini]\noptions = { max_output_tokens = 9 }",
        )

        body = sent(provider, text, lambda: get_llm("gemini").with_structured_output(Person).invoke("hi"))

        settings = body["generationConfig"]
        assert (settings["mediaResolution"], settings["maxOutputTokens"]) == ("MEDIA_RESOLUTION_LOW", 9)
        assert settings["responseMimeType"] == "application/json"

    def test_reasoning_may_be_told_more_than_its_effort(self, provider: LoopbackProvider) -> None:
        text = table(
            provider,
            of_provider="{ reasoning = { summary = 'auto', effort = 'max' } }",
            more="[features.responses]\noptions = { effort = 'low' }",
        )

        body = sent(provider, text, lambda: get_llm("responses").invoke("hi"))

        assert body["reasoning"] == {"summary": "auto", "effort": "low"}

    def test_explain_shows_it_and_where_it_comes_from(self, provider: LoopbackProvider) -> None:
        more = "[features.chat.extra_body]\nopenai = { plugins = [2] }"
        text = table(provider, of_provider="{ transforms = [] }", more=more)
        with use(made := Patchbay(Table(text=text, environ=KEYS))):
            found = explain("chat")
            made.close()

        (told,) = found.as_dict()["candidates"]
        assert told["extra_body"] == {"transforms": [], "plugins": [2]}
        assert told["extra_body_layers"]["transforms"] == "text, providers.openai.extra_body"
        assert "body.plugins (text, features.chat.extra_body)" in str(found)


REFUSED = {
    "the model": ("model = 'gpt-6'", "model is not for a table to set"),
    "messages": ("messages = []", "messages is not for a table to set"),
    "Gemini's contents": ("contents = []", "contents is not for a table to set"),
    "tools": ("tools = []", "tools is not for a table to set"),
    "a format": ("response_format = { type = 'json_object' }", "response_format is not for a table to set"),
    "streaming": ("stream = true", "stream is not for a table to set"),
    "storage": ("store = true", "store is not for a table to set"),
    "several answers": ("n = 2", "A call has one answer"),
    "several candidates": ("generationConfig = { candidateCount = 2 }", "A call has one answer"),
    "an option": ("temperature = 1", "Write options = { temperature = … }"),
    "an option by another spelling": ("generationConfig = { topP = 1 }", "Write options = { top_p = … }"),
    "an option by the vendor's name": ("reasoning_effort = 'low'", "Write options = { effort = … }"),
    "a key by its name": ("provider = { api_key = 'x' }", "provider.api_key would carry a key"),
    "a header's name": ("headers = { Authorization = 'x' }", "headers.Authorization would carry a key"),
    "a token": ("webhook = { accessToken = 'x' }", "webhook.accessToken would carry a key"),
    "a key by its looks": (
        "provider = { order = ['sk-canary-0123456789'] }",
        "provider.order.0 looks like a key",
    ),
    "a bearer": ("note = 'Bearer canary-0123'", "note looks like a key"),
    "a day": ("since = 2026-01-01", "since is no JSON value"),
    "infinity": ("weight = inf", "weight is no JSON value"),
}


class TestRefused:
    """What is ours to set, and whatever is like a key, is refused when the table is loaded: by its row, without its value."""

    @pytest.mark.parametrize("kind", REFUSED)
    def test_wherever_it_stands(self, kind: str, provider: LoopbackProvider) -> None:
        extra, says = REFUSED[kind]
        places = {
            "providers.openai.extra_body": table(provider, of_provider=f"{{ {extra} }}"),
            "models.openai:gpt-6-luna.extra_body": table(
                provider, more=f'[models."openai:gpt-6-luna"]\nextra_body = {{ {extra} }}'
            ),
            "features.chat.extra_body.openai": table(
                provider, more=f"[features.chat.extra_body]\nopenai = {{ {extra} }}"
            ),
        }

        for place, text in places.items():
            with pytest.raises(ConfigError) as caught:
                parse_table(text, environ=KEYS)
            assert place in str(caught.value)
            assert says in str(caught.value)
            assert "canary" not in str(caught.value)

    def test_a_key_of_the_house_wherever_it_stands(self, provider: LoopbackProvider) -> None:
        text = table(provider, of_provider="{ note = 'it is house-key-of-gemini, really' }")

        with pytest.raises(
            ConfigError, match=r"providers.openai.extra_body.note \(text\): holds a key"
        ) as caught:
            parse_table(text, environ=KEYS)
        assert KEYS["LOOPBACK_GEMINI_KEY"] not in str(caught.value)

    def test_a_provider_that_is_not_there(self, provider: LoopbackProvider) -> None:
        text = table(provider, more="[features.chat.extra_body]\nopenia = { plugins = [] }")

        with pytest.raises(ConfigError, match=r"features.chat.extra_body.openia.*Did you mean 'openai'"):
            parse_table(text, environ=KEYS)

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("X-Portkey-Api-Key", "x"),
            ("X-Auth-Token", "x"),
            ("X-Client-Secret", "x"),
            ("Helicone-Auth", "Bearer canary-0123"),
            ("X-Note", "sk-canary-0123456789"),
        ],
    )
    def test_a_header_that_carries_a_key(self, header: str, value: str, provider: LoopbackProvider) -> None:
        text = loopback_table(provider, FEATURES, ROWS)
        text = text.replace(
            "[providers.openai]", f'[providers.openai]\nheaders = {{ "{header}" = "{value}" }}'
        )

        with pytest.raises(
            ConfigError, match=f"providers.openai.headers.*{header} would carry a key"
        ) as caught:
            parse_table(text, environ=KEYS)
        assert "canary" not in str(caught.value)

    def test_a_key_in_another_place_is_not_repeated(self, provider: LoopbackProvider) -> None:
        text = loopback_table(provider, FEATURES, ROWS)
        text = text.replace('api_key_env = "LOOPBACK_OPENAI_KEY"', 'api_key_env = "sk-canary-0123456789"')

        with pytest.raises(ConfigError, match=r"api_key_env = '\[hidden\]'"):
            parse_table(text, environ=KEYS)


class TestSeveralAnswers:
    """A call has one answer."""

    def test_as_an_option_of_the_table(self, provider: LoopbackProvider) -> None:
        with pytest.raises(ConfigError, match=r"options.n.*A call has one answer"):
            parse_table(table(provider, more="[features.chat]\noptions = { n = 2 }"), environ=KEYS)

    def test_of_a_call(self, provider: LoopbackProvider) -> None:
        with use(made := Patchbay(Table(text=table(provider), environ=KEYS))):
            model = made.get_llm("chat")
            with pytest.raises(ValueError, match="n: A call has one answer"):
                model.invoke("hi", n=2)
            made.close()
        assert not provider.requests
