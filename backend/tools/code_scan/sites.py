"""Finds where a module makes models, and how it uses them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from backend.tools.code_scan.constructors import (
    AGENTS,
    FUNCTIONS,
    LANGCHAIN,
    ROUTERS,
    SDK_CALLS,
    ModelConstructor,
)
from backend.tools.code_scan.modules import assignment_target_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from backend.tools.code_scan.modules import ParsedModule
    from backend.tools.code_scan.values import CodeBase

_NEEDS = {"bind_tools": "tools", "with_structured_output": "structured_output"}
_FLUENT = {*_NEEDS, "bind", "with_config", "with_fallbacks", "with_listeners", "with_retry", "with_types"}
"""Methods that give the same model, and something beside it."""
CHANGES = ("bind", "configurable_alternatives", "configurable_fields", "with_retry")
"""Methods that change how a model is called, by more than a need."""
_BY_NAME = ModelConstructor(None)
_GENERIC = re.compile(
    "a|ai|api|app|async|base|build|call|chain|chat|client|completion|config|core|create|default|factory|fallbacks?|fn|for|get"
    "|handler|helpers|init|invoke|llms?|load|main|make|models?|new|of|primary|response|result|router|run|services?|setup|src"
    "|the|utils?|with"
)
"""Words that tell nothing of what a model is for."""


@dataclass(frozen=True)
class ModelConstructorCall:
    """A call in the scanned code that makes a model, or that passes a model's name to a function."""

    node: ast.Call
    constructor: ModelConstructor


@dataclass(frozen=True)
class ModelCreationSite:
    """A place in the scanned code where a model is made, together with its fallbacks. It becomes one feature.

    Attributes:
        node: The call that makes the first model.
        chain: The calls that make the model and its fallbacks, in the order in which the models are called.
        words: Candidates for the feature's name, the best first.
        needs: The capabilities that the code needs of an endpoint, such as ``tools``.
        changes: The places where methods such as ``bind`` change how the model is called.
        others: Other models and chains in the file that begin with a model of ``chain``. They become no
            features.
    """

    module: ParsedModule
    node: ast.AST
    chain: tuple[ModelConstructorCall, ...]
    words: tuple[str, ...]
    needs: tuple[str, ...]
    changes: tuple[ast.Attribute, ...] = ()
    others: tuple[ast.AST, ...] = ()


Chain = tuple[ast.Call, tuple[ModelConstructorCall, ...]]
"""A call, and the models that it stands for, in the order in which they are asked."""


def find_model_subclasses(modules: Iterable[ParsedModule]) -> dict[str, ModelConstructor]:
    """Find the code base's subclasses of LangChain's model classes, by name.

    The value describes the base class, because calls of the subclass have the same arguments.
    """
    return {
        node.name: LANGCHAIN[base]
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.ClassDef)
        for base in [(module.resolve_dotted_name(each) or "").rpartition(".")[2] for each in node.bases]
        if base in LANGCHAIN
    }


def find_model_creation_sites(
    module: ParsedModule, code_base: CodeBase, model_subclasses: Mapping[str, ModelConstructor]
) -> Iterator[ModelCreationSite]:
    """Find every place in ``module`` where a model is made. The longest chains come first, then by line.

    Args:
        module: The file.
        code_base: The code base, to evaluate expressions.
        model_subclasses: The code base's own subclasses of LangChain's models, by name.
    """
    finder = _Finder(module, code_base, model_subclasses)
    found = sorted(finder.chains(), key=lambda pair: (pair[0].lineno, pair[0].col_offset))
    chosen, others = _chosen(found, finder)
    for node, chain in chosen:
        mine = [other for other, models in others if models[0] in chain]
        others = [pair for pair in others if pair[0] not in mine]
        yield ModelCreationSite(
            module,
            chain[0].node,
            chain,
            tuple(_words(module, node)),
            finder.needs(node, chain),
            finder.changes(node, chain),
            tuple(mine),
        )


def _chosen(found: Sequence[Chain], finder: _Finder) -> tuple[list[Chain], list[Chain]]:
    """The chains that become features, and others that begin with one of their models and are called apart from them."""
    chosen: list[Chain] = []
    others: list[Chain] = []
    # A chain goes before the models that it is made of, and before shorter ones that begin alike.
    for node, chain in sorted(found, key=lambda pair: -len(pair[1])):
        wholes = [models for _, models in chosen if _is_part(chain, models)]
        if all(chain[0] not in models for _, models in chosen):
            chosen.append((node, chain))
        elif not wholes or (chain not in wholes and finder.is_called(node)):
            others.append((node, chain))
    return chosen, others


def _is_part(chain: Sequence[ModelConstructorCall], whole: Sequence[ModelConstructorCall]) -> bool:
    """Whether ``chain`` stands in ``whole`` as it is."""
    return any(tuple(whole[at : at + len(chain)]) == tuple(chain) for at in range(len(whole)))


def find_router_calls(module: ParsedModule) -> Iterator[ast.Call]:
    """Find every call that makes a LiteLLM ``Router``."""
    calls = (node for node in module.nodes if isinstance(node, ast.Call))
    return (call for call in calls if (module.resolve_dotted_name(call.func) or "") in ROUTERS)


def find_vendor_sdk_calls(module: ParsedModule) -> Iterator[ast.Call]:
    """Find every call of a vendor's own SDK that passes ``model=``."""
    for node in module.nodes:
        if isinstance(node, ast.Call) and any(keyword.arg == "model" for keyword in node.keywords):
            called = module.resolve_dotted_name(node.func) or ".".join(reversed(_attributes(node.func)))
            if called.endswith(SDK_CALLS):
                yield node


def _attributes(node: ast.AST) -> list[str]:
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return names


class _Finder:
    def __init__(self, module: ParsedModule, project: CodeBase, own: Mapping[str, ModelConstructor]) -> None:
        self._module, self._project, self._own = module, project, own

    def chains(self) -> Iterator[tuple[ast.Call, tuple[ModelConstructorCall, ...]]]:
        """Every model, and every chain of models."""
        for node in self._module.nodes:
            if not isinstance(node, ast.Call):
                continue
            if (made := self._made(node)) is not None:
                yield node, (made,)
            elif self._is_chain(node) and (chain := self._heads(node, set())):
                yield node, tuple(chain)

    def _is_chain(self, node: ast.Call) -> bool:
        return _method(node) == "with_fallbacks" or self._called(node) == "RunnableWithFallbacks"

    def _called(self, node: ast.Call) -> str:
        return (self._module.resolve_dotted_name(node.func) or "").rpartition(".")[2]

    def _made(self, node: ast.Call) -> ModelConstructorCall | None:
        dotted = self._module.resolve_dotted_name(node.func) or ""
        name = dotted.rpartition(".")[2]
        if name == "partial" and node.args:
            inner = (self._module.resolve_dotted_name(node.args[0]) or "").rpartition(".")[2]
            return ModelConstructorCall(node, LANGCHAIN[inner]) if inner in LANGCHAIN else None
        if name in AGENTS:
            return ModelConstructorCall(node, _BY_NAME) if self._is_named(node) else None
        constructor = FUNCTIONS.get(dotted) or LANGCHAIN.get(name) or self._own.get(name)
        return ModelConstructorCall(node, constructor) if constructor else None

    def _is_named(self, agent: ast.Call) -> bool:
        """Whether the agent's model is a name, rather than a model."""
        models = [*agent.args[:1], *(keyword.value for keyword in agent.keywords if keyword.arg == "model")]
        return any(
            isinstance(self._project.evaluate_expression(model, self._module).value, str) for model in models
        )

    def _heads(self, node: ast.AST | None, seen: set[int]) -> list[ModelConstructorCall]:
        """The models that an expression stands for, in order. Expressions already ``seen`` are skipped."""
        if node is None or id(node) in seen:
            return []
        seen.add(id(node))
        if isinstance(node, ast.Call):
            return self._heads_of_call(node, seen)
        if isinstance(node, ast.Name):
            return self._heads(self._module.find_assignment(node.id, node), seen)
        name = assignment_target_name(node)
        return self._heads(self._of_instance(name), seen) if name else []

    def _heads_of_call(self, node: ast.Call, seen: set[int]) -> list[ModelConstructorCall]:
        if (made := self._made(node)) is not None:
            return [made]
        if _method(node) in _FLUENT and isinstance(node.func, ast.Attribute):
            return self._heads(node.func.value, seen) + self._followers(node, seen)
        if self._called(node) == "RunnableWithFallbacks":
            first = next((keyword.value for keyword in node.keywords if keyword.arg == "runnable"), None)
            return self._heads(first, seen) + self._followers(node, seen)
        return []

    def _followers(self, node: ast.Call, seen: set[int]) -> list[ModelConstructorCall]:
        if not self._is_chain(node):
            return []
        listed = [*node.args[:1], *(keyword.value for keyword in node.keywords if keyword.arg == "fallbacks")]
        elements = [
            expr for each in listed for expr in (each.elts if isinstance(each, ast.List | ast.Tuple) else [])
        ]
        return [made for element in elements for made in self._heads(element, seen)]

    def _of_instance(self, name: str) -> ast.expr | None:
        """The value assigned to ``self.name``, if there is only one assignment in the file."""
        found = [value for (_, target), value in self._module.values.items() if target == name]
        return found[0] if len(found) == 1 else None

    def needs(self, node: ast.Call, chain: Sequence[ModelConstructorCall]) -> tuple[str, ...]:
        """The needs of the calls of the model made at ``node``, as far as this file shows."""
        places = [node, *(made.node for made in chain)]
        found = {_NEEDS[name] for place in places for name in self._names(place) if name in _NEEDS}
        for made in chain:
            arguments = {keyword.arg for keyword in made.node.keywords} if made.constructor.is_call else set()
            called = (self._module.resolve_dotted_name(made.node.func) or "").rpartition(".")[2]
            if called in AGENTS or "tools" in arguments:
                found.add("tools")
            if "response_format" in arguments:
                found.add("structured_output")
        return tuple(sorted(found))

    def changes(self, node: ast.AST, chain: Sequence[ModelConstructorCall]) -> tuple[ast.Attribute, ...]:
        """The methods that change how the model made at ``node`` is called, each once, by their lines."""
        places = [node, *(made.node for made in chain)]
        found = {
            id(method): method
            for place in places
            for whole in self._places(place)
            for method in _methods_above(whole, self._module)
            if method.attr in CHANGES
        }
        return tuple(sorted(found.values(), key=lambda method: method.lineno))

    def is_called(self, node: ast.AST) -> bool:
        """Whether the model or chain at ``node`` is called as it is, rather than only put into a longer chain."""
        if any(method.attr == "with_fallbacks" for method in _methods_above(node, self._module)):
            return False
        return any(self._is_called_at(place) for place in self._places(node))

    def _is_called_at(self, place: ast.AST) -> bool:
        """Whether the result of ``place`` is called, piped or given to an agent there, before fallbacks are added."""
        parents = self._module.parents
        above = [*_methods_above(place, self._module)]
        before = [*takewhile(lambda method: method.attr != "with_fallbacks", above)]
        if any(m.attr not in _FLUENT and isinstance(parents.get(id(m)), ast.Call) for m in before):
            return True
        is_piped = isinstance(parents.get(id(_whole(place, self._module))), ast.BinOp)
        return (is_piped and before == above) or any(self._agents_above(place))

    def _names(self, node: ast.AST) -> Iterator[str]:
        """The methods that are called on the result of ``node``, here and under its assigned name."""
        for place in self._places(node):
            yield from (method.attr for method in _methods_above(place, self._module))
            yield from self._agents_above(place)

    def _places(self, node: ast.AST) -> Iterator[ast.AST]:
        """The places of the result of ``node``: its own, and every read of its assigned name."""
        yield node
        whole = _whole(node, self._module)
        name = _assigned_to(whole, self._module)
        for other in self._module.nodes if name else ():
            if isinstance(other, ast.Name | ast.Attribute) and self._stands_for(other, name or "", whole):
                yield other

    def _stands_for(self, node: ast.Name | ast.Attribute, name: str, value: ast.AST) -> bool:
        """Whether ``node`` reads ``name``, in the scope or class in which ``value`` is assigned to it."""
        if assignment_target_name(node) != name or not isinstance(node.ctx, ast.Load):
            return False
        if isinstance(node, ast.Name):
            return self._module.find_assignment(name, node) is value
        return _class_of(node, self._module) is _class_of(value, self._module)

    def _agents_above(self, node: ast.AST) -> Iterator[str]:
        above = self._module.parents.get(id(node))
        if isinstance(above, ast.keyword):
            above = self._module.parents.get(id(above))
        called = self._module.resolve_dotted_name(above.func) if isinstance(above, ast.Call) else None
        if (called or "").rpartition(".")[2] in AGENTS:
            yield "bind_tools"


def _method(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _methods_above(node: ast.AST, module: ParsedModule) -> Iterator[ast.Attribute]:
    above = module.parents.get(id(node))
    while isinstance(above, ast.Attribute | ast.Call):
        if isinstance(above, ast.Attribute):
            yield above
        above = module.parents.get(id(above))


def _whole(node: ast.AST, module: ParsedModule) -> ast.AST:
    """``node`` together with the methods called on it."""
    above = module.parents.get(id(node))
    while isinstance(above, ast.Attribute | ast.Call | ast.Await):
        node, above = above, module.parents.get(id(above))
    return node


def _assigned_to(node: ast.AST, module: ParsedModule) -> str | None:
    above = module.parents.get(id(_whole(node, module)))
    if isinstance(above, ast.Assign):
        return assignment_target_name(above.targets[0])
    return assignment_target_name(above.target) if isinstance(above, ast.AnnAssign | ast.NamedExpr) else None


def _class_of(node: ast.AST, module: ParsedModule) -> ast.ClassDef | None:
    return next(
        (scope for scope in reversed(module.scopes[id(node)]) if isinstance(scope, ast.ClassDef)), None
    )


# Names ------------------------------------------------------------------------------------------------------------


def _words(module: ParsedModule, node: ast.AST) -> Iterator[str]:
    """Candidate names for the model at ``node``, the most specific first."""
    scopes = [scope.name for scope in reversed(module.scopes[id(node)]) if not isinstance(scope, ast.Module)]
    parts = module.name.removesuffix(".py").removesuffix("/__init__").split("/")
    names = [_key_of(node, module), *scopes, _assigned_to(node, module) or "", *reversed(parts)]
    found = [word for name in names if (word := _telling(name))]
    yield from found
    yield from (f"{word}_{other}" for word in found[:1] for other in found[1:])


def _key_of(node: ast.AST, module: ParsedModule) -> str:
    """The key of the mapping that contains the model; empty if none does."""
    whole = _whole(node, module)
    above = module.parents.get(id(whole))
    for key, value in zip(above.keys, above.values, strict=True) if isinstance(above, ast.Dict) else ():
        if value is whole and isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value
    return ""


def _telling(name: str) -> str:
    """``name`` without words of no meaning; empty if nothing is left."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return "_".join(
        word.lower() for word in words if not (_GENERIC.fullmatch(word.lower()) or word.isdigit())
    )
