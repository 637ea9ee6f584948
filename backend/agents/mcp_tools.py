"""Tools of an MCP server, called with the official client, under the application's own risk and policy.

What a server says about its tools is not trusted: whatever it hints, a tool is never taken to be
read-only, its titles are not shown to the person who approves, hidden characters in names are escaped,
and a tool whose description changes needs a new approval.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from backend.utils.llm.schema_checks import find_schema_violation

from .canonical import sha256_of_json, to_canonical_json
from .observations import ToolError, escape_invisible_characters
from .rendering import escape_to_one_line
from .tools import InvalidArgumentsError, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp import Client
    from mcp.types import Tool as Described

    from .tools import Execution, Policy, Risk

LONGEST_DESCRIPTION: Final = 1_000
LONGEST_SCHEMA: Final = 16_000
"""The most characters of a tool's JSON Schema."""
MOST_TOOLS: Final = 100
MOST_PAGES: Final = 100
"""The most pages of a server's list of tools."""
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME: Final = 64


async def mcp_tools(
    client: Client, server: str, terms: Mapping[str, tuple[Risk, Policy]] | None = None
) -> tuple[Tool, ...]:
    """Convert the tools of an MCP server to tools for agents, each with the name ``server__tool``.

    Args:
        client: A connected MCP client. It must stay open while the tools are used.
        server: The prefix for the names of the tools.
        terms: Risk and policy of tools, by the names that the server uses. A tool that is missing here has
            the policy ``ask``.

    Raises:
        ValueError: The server has too many tools or pages of tools, two tools with the same name, or a
            schema that is too long.
    """
    found: list[Tool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        found += [_tool(client, server, tool, (terms or {}).get(tool.name)) for tool in page.tools]
        if len(found) > MOST_TOOLS:
            raise ValueError(f"{server} has more than {MOST_TOOLS} tools")
        if (cursor := page.next_cursor) is None:
            break
    else:
        raise ValueError(f"{server} lists its tools on more than {MOST_PAGES} pages")
    if len({tool.name for tool in found}) < len(found):
        raise ValueError(f"{server} has two tools of one name")
    return tuple(found)


def _tool(client: Client, server: str, one: Described, terms: tuple[Risk, Policy] | None) -> Tool:
    schema: dict[str, Any] = _plain(dict(one.input_schema))
    if len(to_canonical_json(schema)) > LONGEST_SCHEMA:
        raise ValueError(f"{server}: the schema of a tool has more than {LONGEST_SCHEMA} characters")
    name = _ODD.sub("_", f"{server}__{one.name}")[:_LONGEST_NAME]
    risk, policy = terms or (_risk(one), "ask")
    description = _plain(one.description or "")[:LONGEST_DESCRIPTION]
    return Tool(
        name=name,
        description=f"A tool of the server {server}, which describes it so: {description}",
        parameters=schema,
        arguments=partial(_accepted, schema),
        run=partial(_run, client, one.name),
        risk=risk,
        policy=policy,
        title=f"{escape_to_one_line(one.name[:_LONGEST_NAME])[:_LONGEST_NAME]} of {server}",
        version=sha256_of_json(one.description)[:16],
    )


def _risk(one: Described) -> Risk:
    """The risk of a tool: dangerous unless declared harmless. Even a tool that declares itself read-only may write."""
    is_harmless = one.annotations is not None and one.annotations.destructive_hint is False
    return "write" if is_harmless else "dangerous"


def _accepted(schema: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    if (fault := find_schema_violation(dict(given), schema)) is not None:
        raise InvalidArgumentsError(f"{fault}.")
    return dict(given)


async def _run(client: Client, name: str, arguments: dict[str, Any], _: Execution) -> str:
    result: Any = await client.call_tool(name, arguments)
    parts = [getattr(part, "text", None) or f"[{part.type}]" for part in result.content]
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text)
    return text


def _plain(value: Any) -> Any:
    """A copy of a JSON value with control and invisible characters escaped, except line breaks and tabs."""
    match value:
        case str():
            return escape_invisible_characters(value)
        case dict():
            return {escape_invisible_characters(str(name)): _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
        case _:
            return value
