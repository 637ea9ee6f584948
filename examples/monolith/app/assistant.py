"""An agent of LangChain's, on a feature of the table."""

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.tools import tool
from utils.llm import get_llm

_NOTES = {"lunch": "Lunch with Kim is on Friday at noon.", "contract": "Jonas sends the contract by Friday."}


@tool
def look_up(word: str) -> str:
    """Look a word up in the notes."""
    return _NOTES.get(word.lower(), "There is no note about that.")


async def ask(question: str) -> str:
    """What the agent answers, once it has looked up what it wants to."""
    agent = create_agent(
        get_llm("assistant"), tools=[look_up], system_prompt="You know the notes of the user."
    )
    done = await agent.ainvoke({"messages": [("user", question)]})
    return done["messages"][-1].text
