"""Everything that LangChain's code may ask of any chat model: each public name of `BaseChatModel` has its check here."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, trim_messages
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import ConfigurableField, RunnableLambda
from pydantic import BaseModel
from typing_extensions import TypedDict, override

from backend.utils.llm import Caller, FeatureChatModel, Patchbay, get_llm, receipts, use
from backend.utils.llm.testing import LoopbackProvider, Status, Text
from backend.utils.llm.testing.patchbays import loopback_patchbay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check = Callable[[FeatureChatModel], object]

LUNA, FLASH = "openai:gpt-6-luna", "gemini:gemini-3.5-flash-lite"
CANARY = "sk-the-users-own"
QUESTION = [SystemMessage("Be brief."), HumanMessage("hi")]


class Verdict(BaseModel):
    """An object to answer with."""

    good: bool


class VerdictDict(TypedDict):
    good: bool


GOOD = Text('{"good": true}')


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as started:
        started.always(Text("hello"))
        yield started


@pytest.fixture
def patchbay(provider: LoopbackProvider) -> Iterator[Patchbay]:
    made = loopback_patchbay(provider, {"f": LUNA, "chain": [LUNA, FLASH]})
    with use(made):
        yield made
    made.close()


@pytest.fixture
def model(patchbay: Patchbay) -> FeatureChatModel:
    return patchbay.get_llm("f")


def collected(chunks: Any) -> str:
    return "".join(chunk.text for chunk in chunks)


async def acollected(chunks: Any) -> str:
    return "".join([chunk.text async for chunk in chunks])


async def events(model: Any, **kwargs: Any) -> list[str]:
    return [event["event"] async for event in model.astream_events("hi", version="v2", **kwargs)]


def check_configurable_fields(model: FeatureChatModel) -> None:
    chosen = model.configurable_fields(cache_key=ConfigurableField(id="key"))
    assert chosen.invoke("hi", {"configurable": {"key": "k"}}).text == "hello"


def check_listeners(model: FeatureChatModel) -> None:
    seen: list[str] = []
    model.with_listeners(on_end=lambda run: seen.append(run.run_type)).invoke("hi")
    assert seen == ["chat_model"]


def check_alisteners(model: FeatureChatModel) -> None:
    seen: list[str] = []

    async def told(run: Any) -> None:
        seen.append(run.run_type)

    asyncio.run(model.with_alisteners(on_end=told).ainvoke("hi"))
    assert seen == ["chat_model"]


def check_structured(model: FeatureChatModel) -> None:
    assert model.with_structured_output(Verdict).get_name() == "Verdict"


def check_stream_events(model: FeatureChatModel) -> None:
    assert "hello" in str(list(model.stream_events("hi", version="v3")))


def check_token_ids(model: FeatureChatModel) -> None:
    with pytest.raises(NotImplementedError, match="get_num_tokens"):
        model.get_token_ids("hi")


def check(condition: Callable[[FeatureChatModel], bool]) -> Check:
    def checked(model: FeatureChatModel) -> None:
        assert condition(model)

    return checked


CHECKS: dict[str, Check] = {
    "InputType": check(lambda m: m.InputType is not None),
    "OutputType": check(lambda m: m.OutputType is not None),
    "abatch": check(
        lambda m: [message.text for message in asyncio.run(m.abatch(["a", "b"]))] == ["hello"] * 2
    ),
    "abatch_as_completed": check(lambda m: len(asyncio.run(_all(m.abatch_as_completed(["a", "b"])))) == 2),
    "agenerate": check(lambda m: asyncio.run(m.agenerate([QUESTION])).generations[0][0].text == "hello"),
    "agenerate_prompt": check(
        lambda m: len(asyncio.run(m.agenerate_prompt([StringPromptValue(text="hi")])).generations) == 1
    ),
    "ainvoke": check(lambda m: asyncio.run(m.ainvoke("hi")).text == "hello"),
    "as_tool": check(lambda m: m.as_tool(name="ask", description="Ask.", arg_types={"x": str}).name == "ask"),
    "asdict": check(lambda m: m.asdict()["feature"] == "f"),
    "assign": check(
        lambda m: (
            (RunnableLambda(lambda q: {"q": q}).assign(a=lambda one: m.invoke(one["q"]).text)).invoke("hi")
            == {"q": "hi", "a": "hello"}
        )
    ),
    "astream": check(lambda m: asyncio.run(acollected(m.astream("hi"))) == "hello"),
    "astream_events": check(lambda m: "on_chat_model_end" in asyncio.run(events(m))),
    "astream_log": check(lambda m: bool(asyncio.run(_all(m.astream_log("hi"))))),
    "atransform": check(lambda m: asyncio.run(acollected(m.atransform(_once("hi")))) == "hello"),
    "batch": check(lambda m: [one.text for one in m.batch(["a", "b"])] == ["hello"] * 2),
    "batch_as_completed": check(lambda m: len(list(m.batch_as_completed(["a", "b"]))) == 2),
    "bind": check(lambda m: m.bind(max_output_tokens=9).invoke("hi").text == "hello"),
    "bind_tools": check(lambda m: m.bind_tools([Verdict]).invoke("hi").text == "hello"),
    "config_schema": check(lambda m: m.config_schema() is not None),
    "config_specs": check(lambda m: m.config_specs == []),
    "configurable_alternatives": check(
        lambda m: (
            m.configurable_alternatives(ConfigurableField(id="which"), other=get_llm("chain"))
            .with_config({"configurable": {"which": "other"}})
            .invoke("hi")
            .text
            == "hello"
        )
    ),
    "configurable_fields": check_configurable_fields,
    "generate": check(lambda m: m.generate([QUESTION, QUESTION]).generations[1][0].text == "hello"),
    "generate_prompt": check(
        lambda m: len(m.generate_prompt([StringPromptValue(text="hi")]).generations) == 1
    ),
    "get_config_jsonschema": check(lambda m: m.get_config_jsonschema()["type"] == "object"),
    "get_graph": check(lambda m: len(m.get_graph().nodes) == 3),
    "get_input_jsonschema": check(lambda m: bool(m.get_input_jsonschema())),
    "get_input_schema": check(lambda m: m.get_input_schema() is not None),
    "get_lc_namespace": check(lambda m: bool(m.get_lc_namespace())),
    "get_name": check(lambda m: m.get_name() == "FeatureChatModel"),
    "get_num_tokens": check(lambda m: 5 <= m.get_num_tokens("hello " * 10) <= 30),
    "get_num_tokens_from_messages": check(
        lambda m: 2 <= m.get_num_tokens_from_messages(list(QUESTION)) <= 30
    ),
    "get_output_jsonschema": check(lambda m: bool(m.get_output_jsonschema())),
    "get_output_schema": check(lambda m: m.get_output_schema() is not None),
    "get_prompts": check(lambda m: m.get_prompts() == []),
    "get_token_ids": check_token_ids,
    "input_schema": check(lambda m: m.input_schema is not None),
    "invoke": check(lambda m: m.invoke("hi").text == "hello"),
    "is_lc_serializable": check(lambda m: m.is_lc_serializable() is False),
    "lc_attributes": check(lambda m: m.lc_attributes == {}),
    "lc_id": check(lambda m: m.lc_id()[-1] == "FeatureChatModel"),
    "lc_secrets": check(lambda m: m.lc_secrets == {}),
    "map": check(lambda m: [one.text for one in m.map().invoke(["a", "b"])] == ["hello"] * 2),
    "output_schema": check(lambda m: m.output_schema is not None),
    "pick": check(
        lambda m: (m | (lambda one: {"text": one.text, "id": one.id})).pick("text").invoke("hi") == "hello"
    ),
    "pipe": check(lambda m: m.pipe(lambda one: one.text).invoke("hi") == "hello"),
    "set_verbose": check(lambda m: m.verbose is False),
    "stream": check(lambda m: collected(m.stream("hi")) == "hello"),
    "stream_events": check_stream_events,
    "to_json": check(lambda m: m.to_json()["type"] == "not_implemented"),
    "to_json_not_implemented": check(lambda m: m.to_json_not_implemented()["type"] == "not_implemented"),
    "transform": check(lambda m: collected(m.transform(iter(["hi"]))) == "hello"),
    "with_alisteners": check_alisteners,
    "with_config": check(lambda m: m.with_config(tags=["t"]).invoke("hi").text == "hello"),
    "with_fallbacks": check(lambda m: m.with_fallbacks([get_llm("chain")]).invoke("hi").text == "hello"),
    "with_listeners": check_listeners,
    "with_retry": check(lambda m: m.with_retry().invoke("hi").text == "hello"),
    "with_structured_output": check_structured,
    "with_types": check(lambda m: m.with_types(input_type=str).invoke("hi").text == "hello"),
}
PUBLIC = sorted(
    name for name in dir(BaseChatModel) if not name.startswith("_") and name not in dir(BaseModel)
)


async def _all(items: Any) -> list[Any]:
    return [item async for item in items]


async def _once(item: Any) -> Any:
    yield item


@pytest.mark.filterwarnings("ignore:.*(in beta|astream_log is deprecated)")
@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_of_a_chat_model_does_what_langchain_expects(
    name: str, model: FeatureChatModel
) -> None:
    assert name in CHECKS, f"LangChain has a new one: look what users expect of {name}, and add its check"
    CHECKS[name](model)


def test_histories_are_cut_by_our_own_count_of_tokens(model: FeatureChatModel) -> None:
    history = [HumanMessage("hello " * 500), AIMessage("x"), HumanMessage("last")]

    kept = trim_messages(history, max_tokens=20, token_counter=model)

    assert kept[-1].content == "last"
    assert len(kept) < len(history)


class TestProfile:
    """What every endpoint of the chain can do: agents decide by it how to ask."""

    def test_sizes_are_those_of_the_smallest_and_abilities_those_of_all(self, patchbay: Patchbay) -> None:
        one, both = patchbay.get_llm("f").profile, patchbay.get_llm("chain").profile

        assert one is not None
        assert both is not None
        assert both["max_input_tokens"] == min(one["max_input_tokens"], both["max_input_tokens"])
        assert both["max_output_tokens"] == 65_536
        assert both["structured_output"] is True
        assert both["reasoning_effort_levels"] == ["low", "medium", "high"]

    def test_an_ability_that_one_of_the_chain_lacks_is_not_there(self, provider: LoopbackProvider) -> None:
        row = '[models."openai:gpt-6-luna"]\nimages = false'
        with use(loopback_patchbay(provider, {"f": [LUNA, FLASH]}, row)):
            profile = get_llm("f").profile

        assert profile is not None
        assert profile["image_inputs"] is False

    def test_room_for_the_answer_is_taken_off_the_prompt(self, provider: LoopbackProvider) -> None:
        row = "[features.f]\noptions = { max_output_tokens = 20000 }"
        with use(loopback_patchbay(provider, {"f": "openai:gpt-4.1"}, row)):
            profile = get_llm("f").profile

        assert profile is not None
        assert profile["max_output_tokens"] == 20_000
        assert profile["max_input_tokens"] == 1_047_576 - 20_000

    def test_a_caller_whom_nothing_serves_has_none(self, patchbay: Patchbay) -> None:
        caller = Caller(keys={"nobody": "sk-user"})

        assert patchbay.get_llm("f", caller=caller).profile is None


class TestStructuredRuns:
    """A structured call has a run of its own around that of the model."""

    @pytest.fixture(autouse=True)
    def _good(self, provider: LoopbackProvider) -> None:
        provider.always(GOOD)

    def test_events_tell_the_object(self, model: FeatureChatModel) -> None:
        async def ends() -> list[Any]:
            structured = model.with_structured_output(Verdict)
            told = [event async for event in structured.astream_events("hi", version="v2")]
            return [
                (event["name"], event["data"]["output"]) for event in told if event["event"] == "on_chain_end"
            ]

        assert asyncio.run(ends())[-1] == ("Verdict", Verdict(good=True))

    def test_listeners_hear_of_it(self, model: FeatureChatModel) -> None:
        heard: list[Any] = []
        structured = model.with_structured_output(Verdict)
        structured.with_listeners(on_end=lambda run: heard.append((run.name, run.outputs))).invoke("hi")

        assert heard == [("Verdict", {"output": Verdict(good=True)})]

    @pytest.mark.parametrize("schema", [Verdict, VerdictDict])
    def test_its_output_schema_is_the_schema(self, schema: Any, model: FeatureChatModel) -> None:
        described = model.with_structured_output(schema).get_output_jsonschema()

        assert "'good': {'title': 'Good', 'type': 'boolean'}" in str(described)

    def test_an_error_ends_the_run(self, model: FeatureChatModel, provider: LoopbackProvider) -> None:
        provider.always(Status(400))
        failed: list[str] = []
        structured = model.with_structured_output(Verdict)
        with pytest.raises(Exception, match="openai"):
            structured.with_listeners(on_error=lambda run: failed.append(run.name)).invoke("hi")

        assert failed == ["Verdict"]


class TestCopies:
    """A model is its feature's name: it survives queues and deep copies, and takes no key along."""

    @pytest.fixture
    def with_key(self, patchbay: Patchbay) -> FeatureChatModel:
        return patchbay.get_llm("f", caller=Caller(user_id="u", keys={"openai": CANARY}))

    @pytest.mark.parametrize("bound", ["plain", "tools", "schema", "raw", "json_schema"])
    def test_pickled_and_asked(self, bound: str, model: FeatureChatModel, provider: LoopbackProvider) -> None:
        provider.always(GOOD)
        made: dict[str, Any] = {
            "plain": model,
            "tools": model.bind_tools([Verdict]),
            "schema": model.with_structured_output(Verdict),
            "raw": model.with_structured_output(Verdict, include_raw=True),
            "json_schema": model.with_structured_output({"title": "v", **Verdict.model_json_schema()}),
        }
        there = pickle.loads(pickle.dumps(made[bound]))  # noqa: S301 - our own

        assert type(there) is type(made[bound])
        assert "true" in str(there.invoke("hi")).lower()

    def test_a_pickle_holds_no_key(self, with_key: FeatureChatModel) -> None:
        assert CANARY.encode() not in pickle.dumps(with_key)
        assert CANARY.encode() not in pickle.dumps(with_key.with_structured_output(Verdict))

    def test_a_deep_copy_is_on_behalf_of_the_same_caller(self, with_key: FeatureChatModel) -> None:
        assert copy.deepcopy(with_key).caller == with_key.caller
        assert copy.deepcopy(with_key).runtime is with_key.runtime

    def test_serialised_for_traces_it_tells_no_key(self, with_key: FeatureChatModel) -> None:
        assert CANARY not in str(dumpd(with_key))


class Counts(BaseCallbackHandler):
    """Counts what it is told of models. It does not listen to chains."""

    def __init__(self) -> None:
        self.ends = 0

    @override
    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.ends += 1


class Chains(Counts):
    """Listens to chains as well."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    @override
    def on_chain_start(self, *_: Any, name: str = "", **__: Any) -> None:
        self.names.append(name)


class TestCallbacksCostWhatTheyListenTo:
    def test_attempts_are_shown_to_those_who_listen_to_chains(self, model: FeatureChatModel) -> None:
        chains = Chains()
        model.invoke("hi", {"callbacks": [chains]})

        assert chains.names == ["attempt openai:gpt-6-luna"]

    def test_for_others_no_run_of_an_attempt_is_made(
        self, model: FeatureChatModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Any] = []
        monkeypatch.setattr(
            "langchain_core.callbacks.CallbackManager.on_chain_start", lambda *a, **_: made.append(a)
        )
        counts = Counts()
        model.invoke("hi", {"callbacks": [counts]})
        list(model.stream("hi", {"callbacks": [counts]}))

        assert counts.ends == 2
        assert made == []


class TestReceipts:
    """All answers in a context, whatever runs them."""

    def test_of_structured_calls_and_chains_and_threads(
        self, patchbay: Patchbay, provider: LoopbackProvider
    ) -> None:
        provider.always(GOOD)
        with receipts() as seen:
            patchbay.get_llm("f").with_structured_output(Verdict).invoke("hi")
            (patchbay.get_llm("chain") | (lambda one: one.text)).batch(["a", "b"])
            list(patchbay.get_llm("f").stream("hi"))
        patchbay.get_llm("f").invoke("outside")

        assert [one["feature"] for one in seen] == ["f", "chain", "chain", "f"]

    def test_an_outer_collection_sees_what_an_inner_one_does(self, model: FeatureChatModel) -> None:
        with receipts() as outer:
            with receipts() as inner:
                model.invoke("hi")
            asyncio.run(model.ainvoke("hi"))

        assert len(inner) == 1
        assert len(outer) == 2
