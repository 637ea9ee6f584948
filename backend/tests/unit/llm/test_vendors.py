"""What a vendor of OpenAI's API takes of a request: by its address, not by what the table calls it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from backend.utils.llm.clients import get_llm, use
from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import Table, make_own_endpoint, parse_table
from backend.utils.llm.model_config.schema import SETTINGS
from backend.utils.llm.models import OTHER, VENDORS, Capabilities, ModelVendor, find_capabilities, find_vendor
from backend.utils.llm.options import Options
from backend.utils.llm.patchbay import Patchbay
from backend.utils.llm.testing import Json, LoopbackProvider, Text, ToolCalls

from .drivers import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backend.utils.llm.model_config import Endpoint

    Driver = Callable[[Any, Any], Any]

TABLE = """
profile = "p"
byok_profile = "p"
[providers.gateway]
api = "openai"
base_url = "{url}"
api_key_env = "KEY"
vendor = "{vendor}"
[profiles.p]
chat = "gateway:{model}"
[features.chat]
{feature}
"""


class Person(BaseModel):
    name: str
    age: int


ADA = {"name": "Ada", "age": 36}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "", "parameters": PARAMETERS, "strict": True},
}


def table(
    vendor: str, *, url: str = "https://gateway.example.com/v1", model: str = "m", feature: str = ""
) -> str:
    return TABLE.format(vendor=vendor, url=url, model=model, feature=feature)


def endpoint(vendor: str, **values: str) -> Endpoint:
    (found,) = parse_table(table(vendor, **values), environ={}).chain("chat", "p")
    return found


def ask(
    vendor: str, provider: LoopbackProvider, call: Callable[[], object], **values: str
) -> Mapping[str, Any]:
    """The body of the one request that ``call`` sends to ``vendor``."""
    text = table(vendor, url=provider.openai_url, **values)
    with use(made := Patchbay(Table(text=text, environ={"KEY": "sk-of-the-gateway"}))):
        call()
        made.close()
    (request,) = provider.requests
    return request.body


class TestRows:
    """The table of vendors says nothing that the code does not know."""

    @pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.name)
    def test_every_value_is_a_capability(self, vendor: ModelVendor) -> None:
        for values in (vendor.chat, vendor.responses, *vendor.models.values()):
            Capabilities.model_validate(values)
            assert set(values.get("lacks", ())) <= {*Options.model_fields, *SETTINGS}

    @pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.name)
    def test_every_row_says_where_it_comes_from(self, vendor: ModelVendor) -> None:
        assert vendor.page

    def test_no_host_is_two_vendors(self) -> None:
        hosts = [host for vendor in VENDORS for host in vendor.hosts]

        assert len(hosts) == len(set(hosts))

    @pytest.mark.parametrize("vendor", VENDORS, ids=lambda one: one.name)
    def test_the_reference_lists_it(self, vendor: ModelVendor) -> None:
        page = (Path(__file__).parents[4] / "docs/reference/table.md").read_text(encoding="utf-8")
        (row,) = re.findall(rf"^\| `{vendor.name}` \|.*$", page, re.MULTILINE)

        said = {*vendor.hosts, *vendor.chat.get("lacks", ()), *vendor.renamed, *vendor.renamed.values()}
        assert {one for one in said if f"`{one}`" not in row} == set()
        assert f'`"{vendor.chat.get("schema_form", "strict")}"`' in row


class TestWhose:
    """A vendor is known by its address, then by its name."""

    @pytest.mark.parametrize(
        ("host", "name", "vendor"),
        [
            ("openrouter.ai", "backup", "openrouter"),
            ("house.openai.azure.com", "eu", "azure"),
            ("127.0.0.1", "anthropic", "anthropic"),
            ("api.groq.com", "openai", "groq"),
            ("notopenrouter.ai", "x", ""),
            ("openrouter.ai.example.com", "x", ""),
        ],
    )
    def test_it_is_found(self, host: str, name: str, vendor: str) -> None:
        assert find_vendor(host, name).name == vendor

    def test_a_caller_s_endpoint_by_its_address_alone(self) -> None:
        assert make_own_endpoint("https://api.deepseek.com/v1", "m", ()).can.schema_form == "json"
        assert make_own_endpoint("https://models.example.com/v1", "m", ()).provider.vendor is OTHER

    def test_its_price_is_known_whatever_it_is_called(self) -> None:
        text = table("openrouter", model="openai/gpt-6-luna")
        (found,) = parse_table(text, environ={}).chain("chat", "p")

        assert found.price_list_id == ("openrouter", "openai/gpt-6-luna")

    def test_an_unknown_vendor_is_an_error(self) -> None:
        with pytest.raises(
            ConfigError, match=r"providers.gateway.vendor = 'antropic'.*Did you mean 'anthropic'"
        ):
            parse_table(table("antropic"), environ={})

    def test_the_table_goes_before_it(self) -> None:
        text = table("anthropic") + '[models."gateway:m"]\nschema_form = "strict"\nlacks = ["seed"]\n'
        (found,) = parse_table(text, environ={}).chain("chat", "p")

        assert (found.can.schema_form, found.can.lacks) == ("strict", ("seed",))

    def test_each_value_says_where_it_comes_from(self) -> None:
        text = table("anthropic") + '[models."gateway:m"]\nlacks = ["seed"]\n'
        (found,) = parse_table(text, environ={}).chain("chat", "p")

        assert found.capability_sources()["schema_form"].startswith("https://docs.anthropic.com")
        assert found.capability_sources()["lacks"] == "declared in the table"

    def test_a_lack_that_is_no_option_is_an_error(self) -> None:
        text = table("openai") + '[models."gateway:m"]\nlacks = ["seeds"]\n'

        with pytest.raises(ConfigError, match=r"lacks\.0 = 'seeds'.*Did you mean 'seed'"):
            parse_table(text, environ={})


class TestLacks:
    """What a vendor ignores is refused when the table is loaded; what it refuses is not sent."""

    @pytest.mark.parametrize("vendor", ["anthropic", "deepseek"])
    def test_an_option_is_refused(self, vendor: str) -> None:
        with pytest.raises(ConfigError, match=r"features.chat.options.seed = 1.*ignores or refuses it"):
            parse_table(table(vendor, feature="options = { seed = 1 }"), environ={})

    def test_a_call_s_option_skips_the_endpoint(self) -> None:
        text = table("anthropic")
        with use(made := Patchbay(Table(text=text, environ={"KEY": "sk-of-the-gateway"}))):
            model = made.get_llm("chat")
            with pytest.raises(Exception, match="seed"):
                model.invoke("hi", seed=1)
            made.close()

    def test_an_intent_is_left_out(self, provider: LoopbackProvider) -> None:
        feature = 'options = { effort = "low" }'

        body = ask(
            "anthropic", provider, lambda: get_llm("chat").invoke("hi"), model="gpt-6-luna", feature=feature
        )

        assert "reasoning_effort" not in body

    def test_a_parameter_goes_by_the_vendor_s_name(self, provider: LoopbackProvider) -> None:
        feature = "options = { max_output_tokens = 7, seed = 3 }"

        body = ask("mistral", provider, lambda: get_llm("chat").invoke("hi"), feature=feature)

        assert (body["max_tokens"], body["random_seed"]) == (7, 3)
        assert not {"max_completion_tokens", "seed"} & body.keys()

    @pytest.mark.parametrize("mode", ["chat", "responses"])
    def test_metadata_is_for_vendors_that_take_it_of_what_they_do_not_keep(
        self, mode: str, provider: LoopbackProvider
    ) -> None:
        feature = 'options = { metadata = { team = "search" } }'
        row = f'[models."gateway:m"]\napi_mode = "{mode}"'

        body = ask("openrouter", provider, lambda: get_llm("chat").invoke("hi"), feature=f"{feature}\n{row}")

        assert body["metadata"] == {"team": "search"}
        with pytest.raises(ConfigError, match=r"options.metadata.*ignores or refuses it"):
            parse_table(table("openai", feature=f"{feature}\n{row}"), environ={})

    def test_what_a_model_lacks_and_what_its_vendor_lacks_are_both_refused(self) -> None:
        assert {"verbosity", "metadata"} <= set(endpoint("openai", model="gpt-4.1").can.lacks)

    def test_verbosity_stands_beside_a_schema(self, provider: LoopbackProvider) -> None:
        feature = 'options = { verbosity = "low" }\n[models."gateway:gpt-6-luna"]\napi_mode = "responses"'

        body = ask(
            "openai",
            provider,
            lambda: get_llm("chat").with_structured_output(Person).invoke("hi"),
            model="gpt-6-luna",
            feature=feature,
        )

        assert (body["text"]["verbosity"], body["text"]["format"]["name"]) == ("low", "Person")

    def test_tools_are_sent_without_what_is_not_known(self, provider: LoopbackProvider) -> None:
        def call() -> None:
            get_llm("chat").bind_tools([TOOL], strict=True, parallel_tool_calls=False).invoke("hi")

        body = ask("deepseek", provider, call)

        assert "strict" not in body["tools"][0]["function"]
        assert "parallel_tool_calls" not in body

    def test_who_has_no_tools_is_not_asked_for_any(self) -> None:
        assert not endpoint("perplexity", model="gpt-6-luna").can.tools
        assert find_capabilities("gpt-6-luna").tools


class TestSchemas:
    """Each is held to a schema by what it heeds."""

    @pytest.fixture(params=DRIVERS, ids=lambda one: one.__name__)
    def call(self, request: pytest.FixtureRequest) -> Driver:
        found: Driver = request.param
        return found

    def structured(self, call: Driver, **more: Any) -> Any:
        return call(get_llm("chat").bind(response_format=Person, **more), "hi")

    def test_by_a_tool(self, provider: LoopbackProvider, call: Driver) -> None:
        body = ask("anthropic", provider, lambda: self.structured(call))

        assert body["tool_choice"] == {"type": "function", "function": {"name": "Person"}}
        assert body["tools"][0]["function"]["parameters"]["required"] == ["name", "age"]
        assert "response_format" not in body

    def test_its_call_is_the_answer(self, provider: LoopbackProvider) -> None:
        found: list[object] = []

        ask(
            "anthropic",
            provider,
            lambda: found.append(get_llm("chat").with_structured_output(Person).invoke("hi")),
        )

        assert isinstance(found[0], Person)

    def test_beside_tools_of_the_product_it_may_choose(self, provider: LoopbackProvider) -> None:
        provider.always(ToolCalls((("look_up", {"city": "Rom"}),)))
        found: list[Any] = []

        body = ask(
            "anthropic",
            provider,
            lambda: found.append(get_llm("chat").bind(response_format=Person, tools=[TOOL]).invoke("hi")),
        )

        assert body["tool_choice"] == "required"
        assert [tool["function"]["name"] for tool in body["tools"]] == ["look_up", "Person"]
        assert found[0].tool_calls[0]["name"] == "look_up"

    def test_a_tool_of_the_same_name_is_not_taken_for_the_answer(self, provider: LoopbackProvider) -> None:
        own = {
            "type": "function",
            "function": {"name": "Person", "description": "", "parameters": PARAMETERS},
        }
        provider.always(ToolCalls((("Person_answer", ADA),)))
        found: list[Any] = []

        ask(
            "anthropic",
            provider,
            lambda: found.append(get_llm("chat").bind(response_format=Person, tools=[own]).invoke("hi")),
        )

        assert found[0].additional_kwargs["parsed"] == Person(**ADA)

    def test_as_any_json_with_the_schema_in_the_prompt(
        self, provider: LoopbackProvider, call: Driver
    ) -> None:
        provider.always(Json(ADA))

        body = ask("deepseek", provider, lambda: self.structured(call))

        assert body["response_format"] == {"type": "json_object"}
        assert "JSON Schema" in body["messages"][0]["content"]
        assert '"age"' in body["messages"][0]["content"]

    def test_the_prompt_s_own_system_message_stays_the_only_one(self, provider: LoopbackProvider) -> None:
        provider.always(Json(ADA))

        body = ask(
            "deepseek",
            provider,
            lambda: (
                get_llm("chat").bind(response_format=Person).invoke([("system", "Be brief."), ("user", "hi")])
            ),
        )

        assert [message["role"] for message in body["messages"]] == ["system", "user"]
        assert body["messages"][0]["content"].startswith("Be brief.\n\n")

    def test_by_the_model_where_that_matters(self) -> None:
        assert endpoint("groq", model="openai/gpt-oss-120b").can.schema_form == "minimal"
        assert endpoint("groq", model="llama-3.3-70b").can.schema_form == "json"

    def test_loosely(self, provider: LoopbackProvider) -> None:
        body = ask(
            "perplexity", provider, lambda: get_llm("chat").with_structured_output(Person).invoke("hi")
        )

        assert "strict" not in body["response_format"]["json_schema"]

    @pytest.mark.parametrize("vendor", ["anthropic", "deepseek", "openai"])
    def test_an_answer_that_thinks_aloud_is_read(self, vendor: str, provider: LoopbackProvider) -> None:
        provider.always(Text('<think>hm</think>Here:\n```json\n{"name": "Ada", "age": 36}\n```'))
        found: list[object] = []

        ask(
            vendor,
            provider,
            lambda: found.append(get_llm("chat").with_structured_output(Person).invoke("hi")),
        )

        assert found == [Person(**ADA)]
