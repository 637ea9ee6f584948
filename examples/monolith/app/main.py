"""The service: ``uvicorn app.main:app``."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel
from utils.llm import LLMError, serving

from app import assistant, features, report
from app.callers import Callers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the table in force while the service runs."""
    async with serving():
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(Callers)


@app.exception_handler(LLMError)
async def failed(_: Request, error: LLMError) -> JSONResponse:
    """What a caller is told: a code, a sentence, when to come again; never a key or a prompt."""
    wait = {"Retry-After": str(math.ceil(error.retry_after))} if error.retry_after else {}
    return JSONResponse({"error": error.as_dict()}, error.http_status, headers=wait)


class Note(BaseModel):
    """A note."""

    text: str


class Notes(BaseModel):
    """Several."""

    texts: list[str]


class Search(Notes):
    """What is looked for among notes."""

    query: str


@app.post("/title")
def title(note: Note) -> dict[str, str]:
    """A title. A plain function: FastAPI runs it in a thread, which keeps the caller."""
    return {"title": features.title(note.text)}


@app.post("/tasks")
async def tasks(note: Note) -> dict[str, Any]:
    """What is to be done."""
    found, cost = await features.tasks(note.text)
    return {**found.model_dump(), "cost_usd": cost}


@app.get("/answer")
async def answer(question: str) -> StreamingResponse:
    """An answer as server-sent events. What fails before the first of them has its status; later, an event."""
    pieces = features.answer(question)
    first = await anext(pieces, "")
    return StreamingResponse(_events(first, pieces), media_type="text/event-stream")


async def _events(first: str, pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    try:
        yield f"data: {json.dumps(first)}\n\n"
        async for piece in pieces:
            yield f"data: {json.dumps(piece)}\n\n"
        yield "event: end\ndata: {}\n\n"
    except LLMError as error:
        yield f"event: error\ndata: {json.dumps(error.as_dict())}\n\n"


@app.post("/labels")
def labels(notes: Notes) -> dict[str, list[str]]:
    """A label for each note, in threads."""
    return {"labels": features.label(notes.texts)}


@app.post("/assistant")
async def ask(note: Note) -> dict[str, str]:
    """What the agent says."""
    return {"answer": await assistant.ask(note.text)}


@app.post("/report")
async def write(note: Note) -> dict[str, str]:
    """What the graph writes."""
    return {"report": await report.write(note.text)}


@app.post("/nearest")
async def nearest(search: Search) -> dict[str, str]:
    """The note that is nearest to what is looked for."""
    return {"note": await features.nearest(search.query, search.texts)}
