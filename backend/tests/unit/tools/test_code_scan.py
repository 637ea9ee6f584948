"""Code bases as first tables. Nothing of them is imported, and no key of theirs is copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from backend.cli import app
from backend.tools.code_scan import scan_code_base
from backend.utils.llm.model_config import parse_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from backend.tools.config_import import ImportResult
    from backend.utils.llm.model_config import TableSnapshot

    Scan = Callable[[Mapping[str, str] | str], ImportResult]

CANARY = "sk-canary-4f5e6d7c8b9a"
OPENAI = "from langchain_openai import ChatOpenAI\n"


@pytest.fixture
def scanned(tmp_path: Path) -> Scan:
    """What comes of a code base with these files, or of one file."""

    def run(files: Mapping[str, str] | str) -> ImportResult:
        named = {"app/notes.py": files} if isinstance(files, str) else files
        for name, text in named.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return scan_code_base(tmp_path)

    return run


def snapshot(made: ImportResult) -> TableSnapshot:
    assert made.table is not None, "\n".join(map(str, made.findings))
    return parse_table(made.table, environ={})


def chains(made: ImportResult) -> dict[str, list[str]]:
    table = snapshot(made)
    return {name: [str(endpoint) for endpoint in table.chain(name, "premium")] for name in table.features}


def told(made: ImportResult, kind: str) -> list[str]:
    return [f"{finding.path}: {finding.says}" for finding in made.findings if finding.kind == kind]


class TestModels:
    @pytest.mark.parametrize(
        ("code", "endpoint"),
        [
            ("from langchain_openai import ChatOpenAI\nChatOpenAI(model='gpt-6-luna')", "openai:gpt-6-luna"),
            ("from langchain_openai import ChatOpenAI as C\nC(model_name='gpt-6-luna')", "openai:gpt-6-luna"),
            ("import langchain_openai as lo\nlo.ChatOpenAI(model='gpt-6-luna')", "openai:gpt-6-luna"),
            (
                "from langchain_anthropic import ChatAnthropic\nChatAnthropic(model='claude-sonnet-5-5')",
                "anthropic:claude-sonnet-5-5",
            ),
            (
                "from langchain_google_genai import ChatGoogleGenerativeAI\nChatGoogleGenerativeAI(model='models/gemini-3.5-flash')",
                "gemini:gemini-3.5-flash",
            ),
            ("from langchain_groq import ChatGroq\nChatGroq(model='llama-4')", "groq:llama-4"),
            ("from langchain_ollama import ChatOllama\nChatOllama(model='llama3.1')", "ollama_chat:llama3.1"),
            (
                "from langchain.chat_models import init_chat_model\ninit_chat_model('openai:gpt-6-luna')",
                "openai:gpt-6-luna",
            ),
            (
                "from langchain.chat_models import init_chat_model\ninit_chat_model('gpt-6-luna')",
                "openai:gpt-6-luna",
            ),
            (
                "from langchain.chat_models import init_chat_model\ninit_chat_model('llama-4', model_provider='groq')",
                "groq:llama-4",
            ),
            (
                "from langchain.agents import create_agent\ncreate_agent('openai:gpt-6-luna', tools=[])",
                "openai:gpt-6-luna",
            ),
            ("import litellm\nlitellm.completion(model='groq/llama-4', messages=[])", "groq:llama-4"),
            (
                "from litellm import acompletion\nawait_me = acompletion('gpt-6-luna', messages=[])",
                "openai:gpt-6-luna",
            ),
            (
                "from functools import partial\nfrom langchain_openai import ChatOpenAI\npartial(ChatOpenAI, model='gpt-6-luna')",
                "openai:gpt-6-luna",
            ),
            (
                "from langchain_openai import ChatOpenAI\nclass Ours(ChatOpenAI): pass\nOurs(model='gpt-6-luna')",
                "openai:gpt-6-luna",
            ),
        ],
    )
    def test_each_way_to_make_a_model_is_a_feature(self, scanned: Scan, code: str, endpoint: str) -> None:
        assert list(chains(scanned(code)).values()) == [[endpoint]]

    def test_azures_deployment_is_asked_by_the_api_without_versions(self, scanned: Scan) -> None:
        code = """from langchain_openai import AzureChatOpenAI
AzureChatOpenAI(azure_deployment="d", azure_endpoint="https://r.openai.azure.com/", api_version="2024-10-21")"""
        table = snapshot(scanned(code))

        assert table.providers["azure"].base_url == "https://r.openai.azure.com/openai/v1"
        assert table.providers["azure"].api_key_envs == ("AZURE_OPENAI_API_KEY",)

    def test_a_client_of_openais_at_another_vendors_address_is_that_vendors(self, scanned: Scan) -> None:
        code = f"""{OPENAI}import os
ChatOpenAI(model="qwen/qwen3", base_url="https://openrouter.ai/api/v1/", api_key=os.environ.get("OPENROUTER_API_KEY"))"""

        assert list(chains(scanned(code)).values()) == [["openrouter:qwen/qwen3"]]

    def test_fields_of_the_body_that_are_options_are_carried(self, scanned: Scan) -> None:
        code = f"{OPENAI}ChatOpenAI(model='gpt-5.1', extra_body={{'prompt_cache_retention': '24h'}})"
        (row,) = snapshot(scanned(code)).features.values()

        assert row.options.cache_retention == "24h"

    def test_vectors_are_a_feature_of_embeddings(self, scanned: Scan) -> None:
        code = "from langchain_openai import OpenAIEmbeddings\nmemories = OpenAIEmbeddings(model='text-embedding-3-small', dimensions=512)"
        row = snapshot(scanned(code)).features["memories"].embedding

        assert row is not None
        assert (row.model, row.dimensions) == ("text-embedding-3-small", 512)

    def test_a_router_of_litellms_is_read_as_its_proxy(self, scanned: Scan) -> None:
        code = """import os
from litellm import Router
models = [{"model_name": "chat", "litellm_params": {"model": "openai/gpt-6-luna", "api_key": os.getenv("K_1")}},
          {"model_name": "chat", "litellm_params": {"model": "groq/llama-4", "api_key": settings.key}}]
router = Router(model_list=models, routing_strategy="least-busy")"""
        made = scanned(code)

        assert chains(made) == {"chat": ["openai:gpt-6-luna", "groq:llama-4"]}
        assert snapshot(made).chain("chat", "premium").tiers[0].select.by == "least_busy"

    def test_configurations_beside_the_code_are_read_too(self, scanned: Scan) -> None:
        proxy = "model_list: [{model_name: chat, litellm_params: {model: openai/gpt-6-luna}}]"
        functions = '[functions.extract.variants.a]\ntype = "chat_completion"\nmodel = "openai::gpt-6-luna"'
        files = {
            "litellm.yaml": proxy,
            "tz.toml": functions,
            "compose.yaml": "services: {}",
            "bad.yaml": "model_list: [:",
        }
        made = scanned(files)

        assert set(chains(made)) == {"chat", "extract"}
        assert told(made, "dropped")[0].startswith("bad.yaml: is not read: ")

    def test_options_are_ours_of_the_same_meaning(self, scanned: Scan) -> None:
        code = f"{OPENAI}ChatOpenAI(model='gpt-4o', temperature=0.2, max_tokens=90, timeout=30, max_retries=1, model_kwargs={{'seed': 7}})"
        (row,) = snapshot(scanned(code)).features.values()

        assert (row.options.temperature, row.options.max_output_tokens, row.options.timeout) == (0.2, 90, 30)
        assert (row.attempts, row.options.seed) == (2, 7)


class TestChains:
    def test_fallbacks_are_the_chain(self, scanned: Scan) -> None:
        code = f"""{OPENAI}from langchain_anthropic import ChatAnthropic
def answer():
    main = ChatOpenAI(model="gpt-6-luna").with_structured_output(Answer)
    spare = ChatAnthropic(model="claude-sonnet-5-5").with_structured_output(Answer)
    return main.with_fallbacks([spare, ChatOpenAI(model="gpt-6.1-sol")])"""
        made = scanned(code)

        assert chains(made) == {
            "answer": ["openai:gpt-6-luna", "anthropic:claude-sonnet-5-5", "openai:gpt-6.1-sol"]
        }
        assert snapshot(made).features["answer"].structured_output

    def test_models_of_an_instance_are_found(self, scanned: Scan) -> None:
        code = f"""{OPENAI}class Answerer:
    def __init__(self):
        self.main = ChatOpenAI(model="gpt-6-luna")
        self.spare = ChatOpenAI(model="gpt-6.1-sol")
        self.llm = self.main.with_fallbacks([self.spare])"""

        assert chains(scanned(code)) == {"answerer": ["openai:gpt-6-luna", "openai:gpt-6.1-sol"]}

    def test_runnables_with_fallbacks_are_the_chain(self, scanned: Scan) -> None:
        code = f"""{OPENAI}from langchain_core.runnables import RunnableWithFallbacks
notes = RunnableWithFallbacks(runnable=ChatOpenAI(model="gpt-6-luna"), fallbacks=[ChatOpenAI(model="gpt-6.1-sol")])"""

        assert chains(scanned(code)) == {"notes": ["openai:gpt-6-luna", "openai:gpt-6.1-sol"]}

    def test_a_second_chain_of_the_same_models_is_to_do(self, scanned: Scan) -> None:
        code = f"""{OPENAI}
one = ChatOpenAI(model="gpt-6-luna")
two = ChatOpenAI(model="gpt-6.1-sol")
three = ChatOpenAI(model="gpt-4.1")
all = one.with_fallbacks([two.with_fallbacks([three])])
few = one.with_fallbacks([three])"""
        made = scanned(code)

        assert list(chains(made).values()) == [["openai:gpt-6-luna", "openai:gpt-6.1-sol", "openai:gpt-4.1"]]
        assert [line for line in told(made, "todo") if "another chain" in line] == [
            "app/notes.py:7: is another chain of the same models, and no feature. Give it a row of its own."
        ]

    @pytest.mark.parametrize(
        "call",
        [
            "fast.invoke(x)",
            "fast.with_config(tags=[]).stream(x)",
            "inner.invoke(x)",
            "prompt | fast.with_config(y) | parser",
            "create_agent(fast, tools=[])",
        ],
    )
    def test_a_part_of_a_chain_that_is_called_by_itself_is_to_do_once(self, scanned: Scan, call: str) -> None:
        code = f"""{OPENAI}from langchain.agents import create_agent
fast = ChatOpenAI(model="gpt-6-luna")
inner = fast.with_fallbacks([ChatOpenAI(model="gpt-4.1")])
def classify(x):
    return {call}
def summarize(x):
    return ChatOpenAI(model="gpt-6.1-sol").with_fallbacks([inner]).invoke(x)
def translate(x):
    return ChatOpenAI(model="gpt-6.1-terra").with_fallbacks([inner]).invoke(x)"""
        made = scanned(code)

        assert set(chains(made)) == {"summarize", "translate"}
        (line,) = [line for line in told(made, "todo") if "row of its own" in line]
        assert line.startswith(
            "app/notes.py:3: is called by" if "fast" in call else "app/notes.py:4: is another"
        )

    @pytest.mark.parametrize(
        "use",
        [
            "fast.model_name",
            "fast.with_structured_output(Answer)",
            "prompt | fast.with_fallbacks([spare])",
            "fast.with_fallbacks([spare]).invoke(x)",
        ],
    )
    def test_a_model_of_a_chain_that_is_not_called_by_itself_is_not_to_do(
        self, scanned: Scan, use: str
    ) -> None:
        code = f"""{OPENAI}
fast = ChatOpenAI(model="gpt-6-luna")
spare = ChatOpenAI(model="gpt-4.1")
def summarize(x):
    llm = fast.with_fallbacks([spare])
    {use}
    return llm.invoke(x)"""

        assert "row of its own" not in "".join(told(scanned(code), "todo"))

    def test_two_chains_may_share_their_last_model(self, scanned: Scan) -> None:
        code = f"""{OPENAI}
spare = ChatOpenAI(model="gpt-6-luna")
notes = ChatOpenAI(model="gpt-6.1-sol").with_fallbacks([spare])
titles = ChatOpenAI(model="gpt-6.1-terra").with_fallbacks([spare])"""
        made = scanned(code)

        assert chains(made) == {
            "notes": ["openai:gpt-6.1-sol", "openai:gpt-6-luna"],
            "titles": ["openai:gpt-6.1-terra", "openai:gpt-6-luna"],
        }
        assert not told(made, "todo")

    @pytest.mark.parametrize(
        "method", ["bind", "with_retry", "configurable_fields", "configurable_alternatives"]
    )
    def test_a_method_that_changes_how_a_model_is_called_is_told(self, scanned: Scan, method: str) -> None:
        code = f"{OPENAI}one = ChatOpenAI(model='gpt-6-luna')\nnotes = one.with_config(tags=[]).{method}(x=1)"

        (line,) = told(scanned(code), "dropped")
        assert line.startswith(f"app/notes.py:3 {method}: ")

    def test_litellms_own_fallbacks_are_the_chain(self, scanned: Scan) -> None:
        code = "import litellm\ndef sort():\n    litellm.completion(model='openai/gpt-6-luna', messages=[], fallbacks=['groq/llama-4', {'model': 'openai/gpt-6.1-sol'}])"

        assert chains(scanned(code)) == {"sort": ["openai:gpt-6-luna", "groq:llama-4", "openai:gpt-6.1-sol"]}

    def test_one_of_a_chain_that_cannot_be_served_is_left_out(self, scanned: Scan) -> None:
        code = f"{OPENAI}from langchain_aws import ChatBedrock\nnotes = ChatOpenAI(model='gpt-6-luna').with_fallbacks([ChatBedrock(model='x')])"
        made = scanned(code)

        assert chains(made) == {"notes": ["openai:gpt-6-luna"]}
        assert "signed for AWS" in told(made, "wrong")[0]

    def test_what_two_features_want_otherwise_of_one_endpoint_costs_neither_its_row(
        self, scanned: Scan
    ) -> None:
        code = f"""{OPENAI}first = ChatOpenAI(model="gpt-4o", max_tokens=5).with_fallbacks([ChatOpenAI(model="gpt-4.1")])
second = ChatOpenAI(model="gpt-4o").with_fallbacks([ChatOpenAI(model="gpt-4.1", max_tokens=7)])"""
        made = scanned(code)

        assert set(chains(made)) == {"first", "second"}
        assert any("Give it to the call" in line for line in told(made, "dropped"))


class TestNeeds:
    def test_what_is_done_with_a_model_is_what_its_feature_needs(self, scanned: Scan) -> None:
        code = f"""{OPENAI}from langchain.agents import create_agent
class Reader:
    def __init__(self):
        self.llm = ChatOpenAI(model="gpt-6-luna")
    def read(self):
        return self.llm.with_structured_output(Page)
class Writer:
    def __init__(self):
        self.llm = ChatOpenAI(model="gpt-6-luna")
helper_llm = ChatOpenAI(model="gpt-6-luna")
agent = create_agent(helper_llm, tools=[look])
other = create_agent(ChatOpenAI(model="gpt-6-luna"), tools=[look])"""
        rows = snapshot(scanned(code)).features

        assert {name: (row.structured_output, row.tools) for name, row in rows.items()} == {
            "reader": (True, False),
            "writer": (False, False),
            "helper": (False, True),
            "other": (False, True),
        }


class TestValues:
    @pytest.mark.parametrize(
        "model",
        [
            "MODEL",
            "f'{FAMILY}-luna'",
            "FAMILY + '-luna'",
            "models.NAME",
            "NAMED",
            "MODELS['x'] or 'gpt-6-luna'",
        ],
    )
    def test_constants_are_followed_also_from_file_to_file(self, scanned: Scan, model: str) -> None:
        files = {
            "app/models.py": "NAME = 'gpt-6-luna'",
            "app/notes.py": f"from app import models\nfrom .models import NAME as NAMED\n{OPENAI}MODEL = 'gpt-6-luna'\n"
            f"FAMILY = 'gpt-6'\nChatOpenAI(model={model})",
        }

        assert list(chains(scanned(files)).values()) == [["openai:gpt-6-luna"]]

    @pytest.mark.parametrize(
        "code",
        [
            "import os\nChatOpenAI(model=os.getenv('MODEL', 'gpt-6-luna'))",
            "import os\nChatOpenAI(model=os.environ.get('MODEL', default='gpt-6-luna'))",
            "class Settings:\n    chat: str = 'gpt-6-luna'\nChatOpenAI(model=Settings().chat)",
            "class Settings:\n    chat: str = Field('gpt-6-luna')\nChatOpenAI(model=settings.chat)",
            "def make(model='gpt-6-luna'):\n    return ChatOpenAI(model=model)",
        ],
    )
    def test_a_default_is_taken_and_said(self, scanned: Scan, code: str) -> None:
        made = scanned(OPENAI + code)

        assert list(chains(made).values()) == [["openai:gpt-6-luna"]]
        assert len(told(made, "guessed")) == 1

    def test_an_argument_that_is_known_only_when_the_code_runs_costs_no_row(self, scanned: Scan) -> None:
        arguments = (
            "timeout=httpx.Timeout(5), max_retries=int(os.environ['N']), temperature=float(os.environ['T']), "
            "top_p=pick()"
        )
        made = scanned(f"import os\n{OPENAI}ChatOpenAI(model='gpt-4o', {arguments})")

        assert list(chains(made).values()) == [["openai:gpt-4o"]]
        assert len(told(made, "dropped")) == 4

    @pytest.mark.parametrize(
        "arguments",
        [
            "model=pick()",
            "**options",
            "model=config.model",
            "model='a' if x else 'b'",
            "model=os.environ['MODEL']",
            "model='gpt-6-luna', base_url=config.url",
            "model='gpt-6-luna', base_url=os.environ['URL']",
            "",
        ],
    )
    def test_what_is_known_only_when_the_code_runs_is_no_row(self, scanned: Scan, arguments: str) -> None:
        made = scanned(f"import os\n{OPENAI}ChatOpenAI({arguments})")

        assert made.table is None
        assert told(made, "wrong")[0].startswith("app/notes.py:3")

    @pytest.mark.parametrize(
        "code",
        [
            "from app.b import Config\nconfig = Config.load()\nChatOpenAI(model=config.chat)",
            "from app.b import Config\ndef ask(config: Config):\n    ChatOpenAI(model=config.chat)",
            "from app.b import config\nChatOpenAI(model=config.chat)",
            "from app import b\nChatOpenAI(model=b.config.chat)",
            "MODELS = {'x': 'gpt-6-luna', 'y': 'z'}\nChatOpenAI(model=MODELS['x'])",
            "MODELS = {'x': Choice(chat='gpt-6-luna')}\nCHOSEN = MODELS['x']\nChatOpenAI(model=CHOSEN.chat)",
            "chosen = Choice(chat='gpt-6-luna')\nChatOpenAI(model=chosen.chat)",
        ],
    )
    def test_of_two_classes_with_such_a_field_it_is_the_one_that_is_used(
        self, scanned: Scan, code: str
    ) -> None:
        files = {
            "app/a.py": "class Config:\n    chat: str = 'gpt-6.1-sol'",
            "app/b.py": "class Config:\n    chat: str = 'gpt-6-luna'\nconfig = Config()",
            "app/notes.py": OPENAI + code,
        }

        assert list(chains(scanned(files)).values()) == [["openai:gpt-6-luna"]]

    @pytest.mark.parametrize("model", ["Model.SMALL", "Model.SMALL.value", "models.Model.SMALL"])
    def test_members_of_an_enumeration_are_followed(self, scanned: Scan, model: str) -> None:
        files = {
            "app/models.py": "from enum import Enum\nclass Model(str, Enum):\n    SMALL = 'gpt-6-luna'",
            "app/notes.py": f"from app import models\nfrom app.models import Model\n{OPENAI}ChatOpenAI(model={model})",
        }

        assert list(chains(scanned(files)).values()) == [["openai:gpt-6-luna"]]

    def test_a_name_that_is_assigned_twice_is_not_known(self, scanned: Scan) -> None:
        assert scanned(f"{OPENAI}M = 'a'\nM = 'b'\nChatOpenAI(model=M)").table is None

    @pytest.mark.parametrize(
        "code",
        [
            "A = B\nB = A\nChatOpenAI(model=A)",
            "A = A['x']\nChatOpenAI(model=A)",
            "A = A['x']\nChatOpenAI(model=A.chat)",
            "A = A.chat\nChatOpenAI(model=A)",
            "A = f'{A}'\nChatOpenAI(model=A)",
            "A = {'x': A['x']}\nChatOpenAI(model=A['x'])",
            "A = A or A\nChatOpenAI(model=A)",
            f"A = A.with_fallbacks([{'A, ' * 60}])",
            "A = A.with_fallbacks([A])\nA.with_fallbacks([A, ChatOpenAI(model=A)])",
            "A = A + A\nChatOpenAI(model=A)",
            "A = [A, A, A, A]\nChatOpenAI(model=A)",
            "".join(f"A{n} = A{n + 1} + A{n + 1} + A{n + 1}\n" for n in range(30)) + "ChatOpenAI(model=A0)",
            "def f(a=a):\n    ChatOpenAI(model=a)",
        ],
    )
    def test_a_value_that_leads_to_itself_ends(self, scanned: Scan, code: str) -> None:
        assert scanned(OPENAI + code).table is None


class TestNames:
    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("def summarize():\n    llm = {}", "summarize"),
            ("class TitleMaker:\n    def __init__(self):\n        self.llm = {}", "title_maker"),
            ("title_llm = {}", "title"),
            ("def get_title_model():\n    return {}", "title"),
            ("MODELS = {{'title': {}}}", "title"),
            ("llm = {}", "notes"),
        ],
    )
    def test_a_feature_is_named_after_what_the_model_is_for(
        self, scanned: Scan, code: str, name: str
    ) -> None:
        assert list(chains(scanned(OPENAI + code.format("ChatOpenAI(model='gpt-6-luna')")))) == [name]

    def test_no_name_is_given_twice(self, scanned: Scan) -> None:
        code = "llm = ChatOpenAI(model='gpt-6-luna')\n"

        assert len(chains(scanned({"a/x.py": OPENAI + code * 3, "b/x.py": OPENAI + code}))) == 4

    def test_each_row_says_where_it_came_from(self, scanned: Scan) -> None:
        made = scanned(f"{OPENAI}\ntitle = ChatOpenAI(model='gpt-6-luna')")

        assert snapshot(made).features["title"].about == "app/notes.py:3"
        assert told(made, "carried") == ["app/notes.py:3: is the feature title: openai:gpt-6-luna."]


@pytest.mark.writes_keys("notes.py", "the code base has one that is to be found")
class TestSecrets:
    @pytest.mark.parametrize(
        "code",
        [
            f"ChatOpenAI(model='gpt-6-luna', api_key='{CANARY}')",
            f"KEY = '{CANARY}'\nChatOpenAI(model='gpt-6-luna', openai_api_key=SecretStr(KEY))",
            f"import os\nos.environ['OPENAI_API_KEY'] = '{CANARY}'\nChatOpenAI(model='gpt-6-luna')",
            f"import os\nChatOpenAI(model='gpt-6-luna', api_key=os.getenv('K', '{CANARY}'))",
            f"ChatOpenAI(model='gpt-6-luna', default_headers={{'Authorization': 'Bearer {CANARY}'}})",
            f"ChatOpenAI(model='{CANARY}')",
            f"ChatOpenAI(model='gpt-6-luna', base_url='https://u:{CANARY}@h/v1')",
            f"ChatOpenAI(model='gpt-6-luna', user='{CANARY}', metadata={{'{CANARY}': 1}})",
            f"import litellm\nlitellm.completion(model='openai/gpt-6-luna', api_key='{CANARY}', fallbacks=['{CANARY}'])",
            f"from litellm import Router\nRouter(model_list=[{{'model_name': '{CANARY}', 'litellm_params': {{'model': 'openai/m', 'api_key': '{CANARY}'}}}}])",
        ],
    )
    def test_a_key_is_told_by_its_line_and_never_copied(self, scanned: Scan, code: str) -> None:
        made = scanned(OPENAI + code)

        assert CANARY not in f"{made.table} {made.findings}"
        assert any("a key stands in the code" in line for line in told(made, "todo"))

    def test_a_key_without_a_vendors_spelling_is_not_copied_either(self, scanned: Scan) -> None:
        made = scanned(f"{OPENAI}ChatOpenAI(model='gpt-6-luna', api_key='correct horse battery')")

        assert "horse" not in f"{made.table} {made.findings}"

    def test_prose_is_no_key(self, scanned: Scan) -> None:
        made = scanned(
            f"{OPENAI}'''Bearer tokens, risk-averse, sk-no-key-required'''\nChatOpenAI(model='gpt-6-luna')"
        )

        assert told(made, "todo") == []


class TestFiles:
    def test_nothing_is_run(self, scanned: Scan, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        scanned(f"open({str(ran)!r}, 'w')\nraise SystemExit\n{OPENAI}ChatOpenAI(model='gpt-6-luna')")

        assert not ran.exists()

    @pytest.mark.parametrize(
        "name",
        ["tests/x.py", "test_x.py", ".hidden/x.py", "node_modules/x.py", "venv/x.py", "utils/llm/x.py"],
    )
    def test_tests_and_other_peoples_code_are_not_read(self, scanned: Scan, name: str) -> None:
        marks = {"venv/pyvenv.cfg": "", "utils/llm/LIFTED.json": "{}"}

        assert scanned({name: f"{OPENAI}ChatOpenAI(model='gpt-6-luna')", **marks}).table is None

    @pytest.mark.parametrize("text", ["def broken(:", "x = '\0'", "(" * 5000, "# -*- coding: nonsense -*-"])
    def test_a_file_that_cannot_be_read_is_told_and_the_others_are_read(
        self, scanned: Scan, text: str
    ) -> None:
        made = scanned({"bad.py": text, "good.py": f"{OPENAI}ChatOpenAI(model='gpt-6-luna')"})

        assert len(chains(made)) == 1
        assert told(made, "dropped")[0].startswith("bad.py: is not read")

    def test_calls_of_a_vendors_own_client_are_told(self, scanned: Scan) -> None:
        made = scanned(
            "from openai import OpenAI\nOpenAI().chat.completions.create(model='gpt-6-luna', messages=[])"
        )

        assert "vendor's own client" in told(made, "dropped")[0]


class TestCommand:
    def test_it_writes_a_table_that_loads_and_never_over_another(self, tmp_path: Path) -> None:
        (tmp_path / "notes.py").write_text(f"{OPENAI}ChatOpenAI(model='gpt-6-luna')")
        table = tmp_path / "llm.toml"

        first = CliRunner().invoke(app, ["init", str(table), "--from", str(tmp_path)])
        again = CliRunner().invoke(app, ["init", str(table), "--from", str(tmp_path)])

        assert (first.exit_code, again.exit_code) == (0, 1)
        assert set(parse_table(table.read_text(), environ={}).features) == {"notes"}

    def test_without_a_code_base_it_is_a_table_to_begin_with(self) -> None:
        done = CliRunner().invoke(app, ["init"])

        assert set(parse_table(done.stdout, environ={}).features) == {"summary"}

    def test_it_fails_where_there_is_nothing(self, tmp_path: Path) -> None:
        assert CliRunner().invoke(app, ["init", "--from", str(tmp_path)]).exit_code == 1
        assert CliRunner().invoke(app, ["init", "--from", str(tmp_path / "nowhere")]).exit_code == 2

    def test_a_place_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(app, ["init", str(tmp_path / "nowhere" / "llm.toml")])

        assert done.exit_code == 1
        assert "cannot be written" in done.stderr
