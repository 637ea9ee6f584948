"""Anthropic's SDK for Python: streams, and answers the tool calls that come."""

import sys
from pathlib import Path
from typing import Any

from anthropic import Anthropic

origin, token, model, question = sys.argv[1:]
client = Anthropic(base_url=origin, api_key=token, max_retries=0)
input_schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
tools: Any = [{"name": "read_note", "description": "Read a note.", "input_schema": input_schema}]
messages: Any = [{"role": "user", "content": question}]

while True:
    with client.messages.stream(model=model, max_tokens=1000, messages=messages, tools=tools) as stream:
        message = stream.get_final_message()
    if not message.usage.input_tokens or not message.usage.output_tokens:
        raise SystemExit("no usage in the stream")
    content = [block.model_dump(exclude_none=True) for block in message.content]
    messages.append({"role": "assistant", "content": content})
    calls = [block for block in message.content if block.type == "tool_use"]
    if not calls:
        print("".join(block.text for block in message.content if block.type == "text"))
        break
    results = [
        {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": Path(str(call.input["name"])).read_text(),
        }
        for call in calls
    ]
    messages.append({"role": "user", "content": results})
