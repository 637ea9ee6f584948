"""OpenAI's two wires, Chat Completions and Responses, and what they share."""
