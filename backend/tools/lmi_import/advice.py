"""The names of LMI's and litellm's settings here, and advice for those that no table holds."""

from __future__ import annotations

NAMES = {
    "logprobs": "logprobs",
    "max_completion_tokens": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "prompt_cache_retention": "cache_retention",
    "reasoning_effort": "effort",
    "seed": "seed",
    "temperature": "temperature",
    "top_logprobs": "top_logprobs",
    "top_p": "top_p",
}
"""A parameter of a request by litellm's name, and the option that it is."""

_LIMITS = "is not imported: LMI counted a fallback's requests on the first model's limit. Use limits of ours instead."
_HEADERS = (
    "is not imported. Headers stand in [providers.NAME] headers; one that says who asks is never written: "
    "the key comes from the variable that api_key_env names."
)
_BIND = "is not imported: it belongs to a call. Use bind_tools."
_HOW = "is not imported: invoke and stream decide it."
_NOT_SENT = "is not imported: LMI takes it out of the request too. Retries are max_retries, beside the name."

SIBLINGS = {
    "rate_limit": _LIMITS,
    "request_limit": _LIMITS,
    "response_validator": "is not imported: a table holds no code. Give the call accept=.",
    "tool_parser": "is not imported: a table holds no code, and answers have one shape here. Give the call accept=.",
}
"""What may stand beside a config, and is lost by LMI or sent to the provider."""

INSTEAD = SIBLINGS | {
    "default_headers": _HEADERS,
    "extra_headers": _HEADERS,
    "functions": _BIND,
    "headers": _HEADERS,
    "max_retries": _NOT_SENT,
    "num_retries": _NOT_SENT,
    "parallel_tool_calls": _BIND,
    "response_format": "is not imported: it belongs to a call. Use with_structured_output.",
    "rpm": _LIMITS,
    "stop": "is not imported: it belongs to a call. Give the call stop=.",
    "stream": _HOW,
    "stream_options": _HOW,
    "tool_choice": _BIND,
    "tools": _BIND,
    "tpm": _LIMITS,
}
"""What to use in place of a parameter that is no option."""

_BESIDE = "would go over what stands beside the name. Write it there."

MISPLACED = {
    "api_base": _BESIDE,
    "api_key": _BESIDE,
    "base_url": "is another word for api_base. Write that, beside the name.",
    "custom_llm_provider": "would send the model to another provider than its name says. Write provider/model.",
    "fallbacks": "would be a chain of litellm's below LMI's. Write all models under `models`.",
    "model": "would send every request to this model, whatever the name says. Write it as the name.",
    "timeout": _BESIDE,
}
"""Parameters that would decide where a request goes, or for how long: losing them would be half an import."""

DUMPS = {
    "config": "belongs to LMI's client, not to a config. Import what stands here instead.",
    "llm_config": "belongs to LMI's client, not to a config. Import what stands here instead.",
}
"""Keys of a whole ``LiteLLMModel``, which is no config."""
