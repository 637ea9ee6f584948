"""A graph of LangGraph's: a draft, its review, and the draft again, with what the review said."""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from utils.llm import get_llm


class Report(TypedDict, total=False):
    """What the graph works on."""

    topic: str
    draft: str
    review: str


async def _draft(state: Report) -> Report:
    remarks = f"\n\nRemarks: {state['review']}" if "review" in state else ""
    answer = await get_llm("report").ainvoke(f"Write three sentences about {state['topic']}.{remarks}")
    return {"draft": answer.text}


async def _review(state: Report) -> Report:
    answer = await get_llm("report").ainvoke(f"What should be better in this?\n\n{state['draft']}")
    return {"review": answer.text}


def _after_draft(state: Report) -> str:
    return END if "review" in state else "review"


def _graph() -> Any:
    graph = StateGraph(Report)
    graph.add_node("draft", _draft)
    graph.add_node("review", _review)
    graph.add_edge(START, "draft")
    graph.add_conditional_edges("draft", _after_draft, ["review", END])
    graph.add_edge("review", "draft")
    return graph.compile()


graph = _graph()


async def write(topic: str) -> str:
    """A report about ``topic``."""
    return str((await graph.ainvoke({"topic": topic}))["draft"])
