"""Which options the settings of LMI and litellm become, and advice for settings that a table cannot have."""

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
"""The option for each request parameter, by litellm's name."""

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
    "configurable_fields": "is not imported. A profile, a caller's tier or get_llm(FEATURE, endpoint=...) chooses.",
    "default_headers": _HEADERS,
    "extra_headers": _HEADERS,
    "functions": _BIND,
    "headers": _HEADERS,
    "max_retries": _NOT_SENT,
    "num_retries": _NOT_SENT,
    "parallel_tool_calls": _BIND,
    "prompt_cache_key": "is not imported: it belongs to a call. Use get_llm(FEATURE, cache_key=...).",
    "response_format": "is not imported: it belongs to a call. Use with_structured_output.",
    "rpm": _LIMITS,
    "stop": "is not imported: it belongs to a call. Give the call stop=.",
    "stream": _HOW,
    "streaming": _HOW,
    "stream_options": _HOW,
    "tool_choice": _BIND,
    "tools": _BIND,
    "tpm": _LIMITS,
}
"""What to use in place of each parameter that is no option."""

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
"""Parameters that would change where a request goes, or its timeout: without them the import would be wrong."""

DUMPS = {
    "config": "belongs to LMI's client, not to a config. Import what stands here instead.",
    "llm_config": "belongs to LMI's client, not to a config. Import what stands here instead.",
}
"""Keys of a whole ``LiteLLMModel``, which is no config."""

STRATEGIES = {
    "cost-based-routing": "ordered",
    "latency-based-routing": "latency",
    "least-busy": "least_busy",
    "simple-shuffle": "weighted",
    "usage-based-routing": "least_used",
    "usage-based-routing-v2": "least_used",
}
"""LiteLLM's routing strategies, with the strategy here."""

_OF_SERVER = "is not imported: it is of the proxy's own server. See docs/how-to/http-api.md."
_WATCHED = "is not imported: calls are recorded in the ledger and counted for Prometheus. See docs/how-to/watch-it-run.md."
_CACHED = "is not imported: answers are not cached."
_HEALTH = "is not imported: what rests, and for how long, follows from the kind of failure. See docs/reference/attempts.md."
_SHARED = "is not imported: it is of LiteLLM's shared state."
_BUDGET = "is not imported. Use [budgets.NAME]: see docs/how-to/set-budgets.md."
_SO_HERE = "is not imported: it is always so here, as far as a model's abilities are known."

_OF_AWS = "is not imported: it signs requests for AWS, which is not done here."
_OF_GOOGLE = "is not imported: it gets tokens of Google Cloud's, which is not done here."

OF_LITELLM = {
    "additional_drop_params": _SO_HERE,
    "alerting": _WATCHED,
    "alerting_threshold": _WATCHED,
    "allowed_fails": _HEALTH,
    "allowed_fails_policy": _HEALTH,
    **dict.fromkeys(
        (
            "aws_access_key_id",
            "aws_profile_name",
            "aws_region_name",
            "aws_role_name",
            "aws_secret_access_key",
            "aws_session_name",
            "aws_session_token",
        ),
        _OF_AWS,
    ),
    **dict.fromkeys(("vertex_credentials", "vertex_location", "vertex_project"), _OF_GOOGLE),
    "base_model": "is not imported. If the price list does not know the endpoint, say `priced_as` in its row.",
    "cache": _CACHED,
    "cache_params": _CACHED,
    "cache_responses": _CACHED,
    "callbacks": _WATCHED,
    "cooldown_time": _HEALTH,
    "database_url": _OF_SERVER,
    "disable_cooldowns": _HEALTH,
    "drop_params": _SO_HERE,
    "enable_pre_call_checks": _SO_HERE,
    "environment_variables": "is not imported: variables are set where the process is started. No value was read.",
    "extra_body": "is not imported. Write it as `extra_body` into the row of the provider or the endpoint.",
    "failure_callback": _WATCHED,
    "general_settings": _OF_SERVER,
    "guardrails": "is not imported: check prompts and answers in product code, or give the call accept=.",
    "id": "is not imported: an endpoint is named by its provider and its model.",
    "master_key": _OF_SERVER,
    "max_budget": _BUDGET,
    "budget_duration": _BUDGET,
    "organization": 'is not imported. Write headers = { "OpenAI-Organization" = "…" } into the provider\'s row.',
    "modify_params": _SO_HERE,
    "redis_host": _SHARED,
    "redis_password": _SHARED,
    "redis_port": _SHARED,
    "redis_url": _SHARED,
    "region_name": "is not imported: a caller's tier or another profile chooses regions.",
    "retry_after": _HEALTH,
    "retry_policy": _HEALTH,
    "routing_strategy_args": "is not imported. See `select` in docs/reference/table.md for the keys of each strategy.",
    "service_callback": _WATCHED,
    "success_callback": _WATCHED,
    "tag_filtering": 'is not imported: a caller\'s tier chooses (`select = "tier"`).',
    "enable_tag_filtering": 'is not imported: a caller\'s tier chooses (`select = "tier"`).',
    "tags": 'is not imported: a caller\'s tier chooses (`select = "tier"`).',
    "turn_off_message_logging": "is not imported: prompts and answers are not kept, unless a feature's row says so.",
}


def advice_for_litellm_setting(setting: str) -> str:
    """Get the report's message about a LiteLLM setting that cannot be imported: what to do instead."""
    return (
        OF_LITELLM.get(setting) or INSTEAD.get(setting) or "is not imported: a table has nothing of the kind."
    )
