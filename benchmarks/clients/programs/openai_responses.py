"""OpenAI's SDK for Python on Responses: streams, and answers the tool calls that come."""

import json
import sys
from pathlib import Path
from typing import Any

from openai import OpenAI

origin, token, model, question = sys.argv[1:]
client = OpenAI(base_url=f"{origin}/v1", api_key=token, max_retries=0)
parameters = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
tools: Any = [
    {
        "type": "function",
        "name": "read_note",
        "description": "Read a note.",
        "parameters": parameters,
        "strict": True,
    }
]
said: Any = [{"role": "user", "content": question}]

while True:
    with client.responses.stream(model=model, input=said, tools=tools, store=False) as stream:
        response = stream.get_final_response()
    if response.usage is None or not response.usage.total_tokens:
        raise SystemExit("no usage in the stream")
    said += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for item in response.output]
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        print(response.output_text)
        break
    for call in calls:
        text = Path(json.loads(call.arguments)["name"]).read_text()
        said.append({"type": "function_call_output", "call_id": call.call_id, "output": text})
