"""Reads a page as strictly as a validator would, and knows what a screen reader needs of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Final

from typing_extensions import override

VOID: Final = frozenset({"meta", "link", "img", "input", "br", "hr"})
DRAWN: Final = frozenset({"path", "rect", "circle"})
_BLOCKS: Final = frozenset(
    {"div", "p", "ul", "ol", "dl", "table", "section", "form", "h1", "h2", "h3", "pre", "figure"}
)
_PARENTS: Final = {
    "li": {"ul", "ol"},
    "dt": {"dl", "div"},
    "dd": {"dl", "div"},
    "tr": {"thead", "tbody"},
    "td": {"tr"},
    "th": {"tr"},
    "thead": {"table"},
    "tbody": {"table"},
    "option": {"select", "datalist"},
    "legend": {"fieldset"},
    "summary": {"details"},
    "figcaption": {"figure"},
}
"""What may stand in what alone."""


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    parents: tuple[str, ...]
    text: str = ""

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""


@dataclass
class Document:
    """A page that was read: its elements in their order, and what is wrong with it."""

    elements: list[Element] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def all(self, *names: str) -> list[Element]:
        return [element for element in self.elements if element.name in names]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.document = Document()
        self._open: list[Element] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self._fault(f"<{tag}> has an attribute twice")
        parents = tuple(one.name for one in self._open)
        if tag in _PARENTS and (not parents or parents[-1] not in _PARENTS[tag]):
            self._fault(f"<{tag}> in <{parents[-1] if parents else ''}>")
        if tag in _BLOCKS and {"p", "span"} & set(parents):
            self._fault(f"<{tag}> within text")
        if tag in {"a", "button"} and {"a", "button"} & set(parents):
            self._fault(f"<{tag}> in another that is pressed")
        element = Element(tag, dict(attrs), parents)
        self.document.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in DRAWN:
            self._fault(f"<{tag}/>")
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].name != tag:
            self._fault(f"</{tag}> closes <{self._open[-1].name if self._open else ''}>")
            return
        self._open.pop()

    @override
    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def _fault(self, what: str) -> None:
        self.document.faults.append(f"{what}, line {self.getpos()[0]}")

    @override
    def close(self) -> None:
        super().close()
        self.document.faults += [f"<{element.name}> stays open" for element in self._open]


def read_page(text: str) -> Document:
    """The page; its ``faults`` are empty if it is as it should be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    document = reader.document
    document.faults += [*_ids(document), *_outline(document), *_names(document), *_scripts(document)]
    return document


def _ids(document: Document) -> list[str]:
    ids = Counter(one["id"] for one in document.elements if one["id"])
    faults = [f"id {name} {count} times" for name, count in ids.items() if count > 1]
    for element in document.elements:
        for name in ("aria-labelledby", "for", "list"):
            faults += [
                f"{name} {target} leads nowhere" for target in element[name].split() if target not in ids
            ]
    faults += [
        f"#{one['href'][1:]} leads nowhere"
        for one in document.all("a")
        if one["href"].startswith("#") and one["href"][1:] not in ids
    ]
    return faults


def _outline(document: Document) -> list[str]:
    levels = [int(element.name[1]) for element in document.all("h1", "h2", "h3", "h4")]
    faults = [] if levels.count(1) == 1 else [f"{levels.count(1)} headings of the first level"]
    faults += [f"a heading of level {low} follows {high}" for high, low in pairwise(levels) if low > high + 1]
    faults += [f"no <{name}>" for name in ("main", "title", "header") if not document.all(name)]
    if (html := document.all("html")) and not html[0]["lang"]:
        faults.append("no language")
    return faults + [
        f"an empty <{element.name}>" for element in document.all("h1", "h2", "h3") if not element.text.strip()
    ]


def _names(document: Document) -> list[str]:
    """Everything that is filled in, pressed or seen has a name that can be read out."""
    faults = [
        f"a <{one.name}> {one['name']} without a label"
        for one in document.all("input", "select", "textarea")
        if "label" not in one.parents and not one["aria-label"]
    ]
    for element in document.all("a", "button", "th", "option"):
        is_named = element.text.strip() or element["aria-label"] or element["value"]
        faults += [] if is_named else [f"an empty <{element.name}>"]
    for element in document.all("svg"):
        is_known = element["aria-label"] or element["aria-labelledby"] or element["aria-hidden"]
        faults += [] if is_known else ["a picture without words"]
    faults += ["an <img> without alt" for one in document.all("img") if "alt" not in one.attributes]
    faults += ["a <th> without scope" for one in document.all("th") if not one["scope"]]
    navigations = [one["aria-label"] for one in document.all("nav")]
    faults += ["a <nav> without a name"] * navigations.count("")
    return faults


def _scripts(document: Document) -> list[str]:
    faults = []
    for element in document.elements:
        acts = [name for name in element.attributes if name.startswith("on") or name in {"style", "srcdoc"}]
        faults += [f"<{element.name} {name}>" for name in acts]
        targets = [element[name] for name in ("src", "href", "action")]
        faults += [
            f"<{element.name}> leads to {to[:30]}"
            for to in targets
            if to.startswith(("javascript", "http", "//"))
        ]
    faults += ["a script in the page" for one in document.all("script") if not one["src"] or one.text]
    return faults + ["a style in the page"] * len(document.all("style"))
