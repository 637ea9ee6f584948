"""OpenAI's SDK for Python on Chat Completions: streams, and answers the tool calls that come."""

import json
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI

origin, token, model, question = sys.argv[1:]
client = OpenAI(base_url=f"{origin}/v1", api_key=token, max_retries=0)
parameters = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
function = {"name": "read_note", "description": "Read a note.", "parameters": parameters}
tools: Any = [{"type": "function", "function": function}]
messages: Any = [{"role": "user", "content": question}]

while True:
    with client.chat.completions.stream(
        model=model,
        messages=messages,
        tools=tools,
        stream_options={"include_usage": True},
    ) as stream:
        completion = stream.get_final_completion()
    message = completion.choices[0].message
    if completion.usage is None or not completion.usage.total_tokens:
        raise SystemExit("no usage in the stream")
    messages.append(message.model_dump(include={"role", "content", "tool_calls"}, exclude_none=True))
    if not message.tool_calls:
        print(message.content)
        break
    for call in message.tool_calls:
        text = Path(json.loads(call.function.arguments)["name"]).read_text()
        messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
