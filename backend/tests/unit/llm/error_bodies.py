"""What providers and gateways are known to say when they turn a request away, each with where that is told in public.

The bodies have their shape and their telling words; ids, keys and what does not matter are ours, and where a page tells no
more than the status, so are the words. Adding one is adding a line.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple

from backend.utils.llm.failures import Category

C = Category
Cools = Literal["", "key", "endpoint"]


class Told(NamedTuple):
    """An error answer.

    Attributes:
        source: Where it is told: a repository's issue, or a page.
        cools: What is left alone for everybody because of it.
    """

    source: str
    status: int
    body: str
    category: Category
    cools: Cools = ""


def _row(source: str, status: int, body: Any, category: Category, cools: Cools = "") -> Told:
    return Told(source, status, body if isinstance(body, str) else json.dumps(body), category, cools)


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def _google(status: int, name: str, message: str, reason: str = "") -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return {"error": {"code": status, "message": message, "status": name, "details": details}}


def _azure(code: str, message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "param": "prompt", "status": 400, **more}}


OPENROUTER: Final = "https://openrouter.ai/docs/api/errors"
CONTENT = (
    _row(
        OPENROUTER,
        403,
        _error(
            'This model requires moderation. Your input was flagged for "violence".',
            code=403,
            metadata={
                "reasons": ["violence"],
                "flagged_input": "…",
                "provider_name": "X",
                "model_slug": "x/y",
            },
        ),
        C.REFUSAL,
    ),
    _row(
        OPENROUTER,
        403,
        _error("Forbidden", code=403, metadata={"reasons": [], "flagged_input": "…", "provider_name": "X"}),
        C.REFUSAL,
    ),
    _row(
        "https://openrouter.ai/docs/api/errors (guardrail block)",
        403,
        _error("Request blocked: prompt injection patterns detected", code=403),
        C.REFUSAL,
    ),
    _row(
        "anomalyco/opencode#49099",
        403,
        _error("Provider returned error", code=403, metadata={"error_type": "content_policy_violation"}),
        C.REFUSAL,
    ),
    _row(
        "anomalyco/opencode#49099",
        403,
        _error(
            "Provider returned error",
            code=403,
            metadata={"raw": json.dumps(_error("Blocked", code="content_filter")), "provider_name": "Azure"},
        ),
        C.REFUSAL,
    ),
    _row(
        "UKGovernmentBEIS/inspect_ai#2267",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: t, API key ID: k, Model: grok, Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        C.REFUSAL,
    ),
    _row(
        "Wei-Shaw/sub2api#5359",
        403,
        {"code": "permission-denied", "error": "Content violates usage guidelines. "},
        C.REFUSAL,
    ),
    _row(
        "https://learn.microsoft.com/azure/ai-services/openai/concepts/content-filter",
        400,
        _azure(
            "content_filter",
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            innererror={
                "code": "ResponsibleAIPolicyViolation",
                "content_filter_result": {"hate": {"filtered": True, "severity": "high"}},
            },
        ),
        C.REFUSAL,
    ),
    _row(
        "https://docs.cloud.google.com/model-armor/model-armor-vertex-integration",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "The prompt was blocked by Model Armor: it violated prompt injection filters.",
        ),
        C.REFUSAL,
    ),
    _row(
        "https://docs.cloud.google.com/model-armor/model-armor-vertex-integration",
        400,
        _google(400, "INVALID_ARGUMENT", "Blocked by Model Armor Floor Setting"),
        C.REFUSAL,
    ),
    _row(
        "https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/process-blocked-responses",
        400,
        _google(
            400,
            "INVALID_ARGUMENT",
            "The prompt could not be submitted. It has sensitive words that violate Google's Responsible AI practices.",
        ),
        C.REFUSAL,
    ),
    _row(
        "anthropics/claude-code (output blocked), as inspect_ai and litellm match it",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Output blocked by content filtering policy",
            },
        },
        C.REFUSAL,
    ),
    _row(
        "openai/openai-python, code invalid_prompt",
        400,
        _error(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            type="invalid_request_error",
            code="invalid_prompt",
        ),
        C.REFUSAL,
    ),
    _row(
        "https://developers.cloudflare.com/ai-gateway/features/guardrails/set-up-guardrail",
        400,
        {
            "success": False,
            "error": [{"code": 2016, "message": "Prompt blocked due to security configurations"}],
        },
        C.REFUSAL,
    ),
    _row(
        "deepseek-ai/awesome-deepseek-integration#13",
        400,
        _error("Content Exists Risk", type="invalid_request_error", param=None, code="invalid_request_error"),
        C.REFUSAL,
    ),
    _row("deepseek-ai/DeepSeek-V2#30", 400, {"detail": "Content Exists Risk"}, C.REFUSAL),
    _row(
        "BerriAI/litellm#41682",
        400,
        _error("Input data may contain inappropriate content.", code="data_inspection_failed"),
        C.REFUSAL,
    ),
    _row(
        "BerriAI/litellm#41682",
        400,
        {
            "code": "DataInspectionFailed",
            "message": "Input or output data may contain inappropriate content.",
        },
        C.REFUSAL,
    ),
    _row(
        "https://docs.bigmodel.cn/cn/faq/api-code",
        400,
        {
            "contentFilter": [{"level": 1, "role": "user"}],
            "error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"},
        },
        C.REFUSAL,
    ),
    _row(
        "https://platform.moonshot.ai/docs/api/chat (errors)",
        400,
        _error("The request was rejected because it was considered high risk", type="content_filter"),
        C.REFUSAL,
    ),
    _row(
        "https://www.volcengine.com/docs/82379/1299023",
        400,
        _error(
            "The request failed because the input text may contain it.",
            code="InputTextSensitiveContentDetected",
        ),
        C.REFUSAL,
    ),
    _row(
        "https://docs.mistral.ai/studio/safety-moderation/quickstarts",
        403,
        {
            "object": "error",
            "message": "Content blocked by guardrail",
            "type": "guardrail_error",
            "code": "3700",
        },
        C.REFUSAL,
    ),
    _row(
        "https://docs.litellm.ai/docs/proxy/guardrails/openai_moderation",
        400,
        _error("{'error': 'Violated OpenAI moderation policy'}", type="None", param="None", code="400"),
        C.REFUSAL,
    ),
    _row(
        "https://portkey.ai/docs/product/guardrails",
        446,
        {"error": {"message": "The guardrail checks defined in the config failed.", "type": "hooks_failed"}},
        C.REFUSAL,
    ),
    _row(
        "dwgx/WindsurfAPI#223",
        403,
        {"code": "permission_denied", "message": "Your request was blocked by our content policy."},
        C.REFUSAL,
    ),
    _row(
        "https://docs.aws.amazon.com/bedrock/latest/userguide/guardrails.html",
        400,
        {"message": "The request was blocked: a guardrail intervened.", "__type": "ValidationException"},
        C.REFUSAL,
    ),
    _row("a gateway that answers 401", 401, _error("Request blocked by content moderation"), C.REFUSAL),
    _row("a gateway that answers 402", 402, _error("Input flagged by moderation", code=402), C.REFUSAL),
    _row("a gateway that answers 422", 422, _error("Prompt violates our content policy."), C.REFUSAL),
    _row(
        "a gateway that answers in plain text",
        403,
        "Your prompt was blocked by the safety filter.",
        C.REFUSAL,
    ),
)
"""Of what was said: a refusal, and nobody's fault."""

REQUEST = (
    _row(
        "google-gemini/deprecated-generative-ai-python#617",
        403,
        _google(
            403, "PERMISSION_DENIED", "You do not have permission to access the File abc or it may not exist."
        ),
        C.UNSUPPORTED,
    ),
    _row(
        "googleapis/python-genai#1218",
        403,
        _google(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)"),
        C.UNSUPPORTED,
    ),
    _row(
        "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "service-1@gcp-sa does not have storage.objects.get access to the Google Cloud Storage object.",
            "IAM_PERMISSION_DENIED",
        ),
        C.UNSUPPORTED,
    ),
    _row(
        "router-for-me/CLIProxyAPI#2381",
        404,
        _error(
            "Item with id 'rs_0' not found. Items are not persisted when `store` is set to false.",
            type="invalid_request_error",
            param="input",
            code=None,
        ),
        C.UNSUPPORTED,
    ),
    _row(
        "https://platform.openai.com/docs/guides/conversation-state",
        400,
        _error("Previous response with id 'resp_0' not found.", code="previous_response_not_found"),
        C.UNSUPPORTED,
    ),
    _row(
        "https://platform.openai.com/docs/api-reference/files",
        404,
        _error("No such File object: file-1"),
        C.UNSUPPORTED,
    ),
    _row(
        "https://docs.anthropic.com/en/docs/build-with-claude/files",
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": "File not found: file_1"}},
        C.UNSUPPORTED,
    ),
    _row(
        "evalstate/fast-agent#122",
        404,
        _error("No endpoints found that support image input", code=404),
        C.UNSUPPORTED,
    ),
    _row(
        "Kilo-Org/kilocode#9006",
        404,
        _error('No endpoints found that support tool use. Try disabling "question".', code=404),
        C.UNSUPPORTED,
    ),
    _row(
        "truefoundry/models#826",
        404,
        _error("No endpoints available matching your guardrail restrictions and data policy.", code=404),
        C.UNSUPPORTED,
    ),
    _row(
        "ShamanicArts/Flow.Launcher.Plugin.AI-Assistant#2",
        404,
        _error("No endpoints found matching your data policy. Enable prompt training.", code=404),
        C.UNSUPPORTED,
    ),
    _row(
        "https://openrouter.ai/docs/guides/routing/provider-selection",
        404,
        _error("No allowed providers are available for the selected model.", code=404),
        C.UNSUPPORTED,
    ),
    _row(
        "danny-avila/LibreChat#6926",
        403,
        _error(
            "Your organization must be verified to stream this model.",
            code="unsupported_value",
            param="stream",
        ),
        C.UNSUPPORTED,
    ),
    _row(
        "a gateway that answers 403", 403, _error("This model does not support image input."), C.UNSUPPORTED
    ),
    _row(
        "a gateway that answers 403",
        403,
        _error("Your plan does not include the web search tool."),
        C.UNSUPPORTED,
    ),
    _row(
        "a gateway that answers 422", 422, _error("tool_choice is not supported by this model"), C.UNSUPPORTED
    ),
    _row(
        "newo-ether/Agora#8",
        402,
        _error(
            "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 3395.",
            code=402,
            metadata={"provider_name": None},
        ),
        C.UNSUPPORTED,
    ),
    _row(
        "anomalyco/opencode#12219",
        402,
        _error("Prompt tokens limit exceeded: 9 > 8.", code=402),
        C.UNSUPPORTED,
    ),
)
"""Of what a request refers to, makes use of, or wants too much of: another endpoint may serve it, and others this one."""

SILENT = (
    _row("any proxy", 403, "", C.UNEXPLAINED),
    _row("any proxy", 403, "Forbidden", C.UNEXPLAINED),
    _row("nginx", 403, "<html><head><title>403 Forbidden</title></head></html>", C.UNEXPLAINED),
    _row("Cloudflare", 403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", C.UNEXPLAINED),
    _row("any proxy", 403, _error("Forbidden", code=403), C.UNEXPLAINED),
    _row("any proxy", 403, {"message": "Forbidden"}, C.UNEXPLAINED),
    _row(
        "iBUHub/AIStudioToAPI#109",
        403,
        _google(403, "PERMISSION_DENIED", "The caller does not have permission"),
        C.UNEXPLAINED,
    ),
    _row(
        "google-gemini/gemini-cli#14519",
        403,
        _error(
            json.dumps(_google(403, "PERMISSION_DENIED", "The caller does not have permission")),
            status="Forbidden",
        ),
        C.UNEXPLAINED,
    ),
    _row("nginx", 404, "<html><title>404 Not Found</title></html>", C.UNEXPLAINED),
    _row("FastAPI", 404, {"detail": "Not Found"}, C.UNEXPLAINED),
    _row("Azure", 404, {"error": {"code": "404", "message": "Resource not found"}}, C.UNEXPLAINED),
    _row("Google", 404, _google(404, "NOT_FOUND", "Requested entity was not found."), C.UNEXPLAINED),
    _row(
        "OpenAI",
        404,
        _error("Invalid URL (POST /v1/chat/completion)", type="invalid_request_error"),
        C.UNEXPLAINED,
    ),
)
"""Nothing is said, or nothing that would tell a key from a prompt."""

KEY = (
    _row(
        "https://platform.openai.com/docs/guides/error-codes",
        401,
        _error("Incorrect API key provided: sk-…", type="invalid_request_error", code="invalid_api_key"),
        C.CREDENTIAL,
        "key",
    ),
    _row("any proxy", 401, "", C.CREDENTIAL, "key"),
    _row(
        "https://platform.openai.com/docs/guides/error-codes",
        403,
        _error("You have insufficient permissions for this operation. Missing scopes: model.request."),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://platform.openai.com/docs/guides/error-codes",
        403,
        _error("Country, region, or territory not supported", code="unsupported_country_region_territory"),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "google/generative-ai-docs#356",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "Permission denied: Consumer 'api_key:k' has been suspended.",
            "CONSUMER_SUSPENDED",
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "continuedev/continue#10513",
        403,
        _error(
            json.dumps(
                _google(
                    403,
                    "PERMISSION_DENIED",
                    "Your API key was reported as leaked. Please use another API key.",
                )
            ),
            code=403,
            status="Forbidden",
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "poenl/gemini-api#8",
        403,
        _google(403, "PERMISSION_DENIED", "Your project has been denied access. Please contact support."),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "google-gemini/gemini-cli#19501",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "This service has been disabled in this account for violation of Terms of Service.",
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "continuedev/continue#12781",
        403,
        _google(
            403, "PERMISSION_DENIED", "Requests to this API method are blocked.", "API_KEY_SERVICE_BLOCKED"
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://ai.google.dev/gemini-api/docs/troubleshooting",
        403,
        _google(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers. Please use API Key."),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://ai.google.dev/gemini-api/docs/troubleshooting",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "Generative Language API has not been used in project 1 before or it is disabled.",
            "SERVICE_DISABLED",
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "Wei-Shaw/sub2api#1709",
        400,
        [
            _google(
                400, "INVALID_ARGUMENT", "API Key not found. Please pass a valid API key.", "API_KEY_INVALID"
            )
        ],
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors",
        403,
        _google(
            403,
            "PERMISSION_DENIED",
            "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform/x' (or it may not exist).",
            "IAM_PERMISSION_DENIED",
        ),
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://docs.anthropic.com/en/api/errors",
        403,
        {
            "type": "error",
            "error": {
                "type": "permission_error",
                "message": "Your API key does not have permission to use the specified resource.",
            },
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "anthropics/claude-code#65714",
        403,
        {
            "type": "error",
            "error": {
                "type": "permission_error",
                "message": "OAuth authentication is currently not allowed for this organization.",
            },
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "Wei-Shaw/sub2api#5359",
        403,
        {
            "code": "permission-denied",
            "error": "Access to the chat endpoint is denied. Please ensure you're using the correct credentials.",
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://docs.x.ai/docs/key-information/debugging",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***. Get one at the console.",
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html",
        403,
        {
            "message": "The security token included in the request is invalid.",
            "__type": "UnrecognizedClientException",
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://learn.microsoft.com/azure/api-management",
        401,
        {"statusCode": 401, "message": "Access denied due to invalid subscription key."},
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://learn.microsoft.com/azure/ai-services/cognitive-services-virtual-networks",
        403,
        {
            "error": {
                "code": "403",
                "message": "Access denied due to Virtual Network/Firewall rules: your IP is not allowed.",
            }
        },
        C.CREDENTIAL,
        "key",
    ),
    _row(
        "https://docs.x.ai/docs/key-information/debugging",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your newly created team doesn't have any credits yet. You can purchase credits on the console.",
        },
        C.QUOTA,
        "key",
    ),
    _row(
        "RooCodeInc/Roo-Code#515", 403, _error("Key limit exceeded (total limit).", code=403), C.QUOTA, "key"
    ),
    _row(
        "https://api-docs.deepseek.com/quick_start/error_codes",
        402,
        _error("Insufficient Balance"),
        C.QUOTA,
        "key",
    ),
    _row("any proxy", 402, "", C.QUOTA, "key"),
    _row(
        "https://help.aliyun.com/zh/model-studio/error-code",
        400,
        _error("Access denied, please make sure your account is in good standing.", code="Arrearage"),
        C.QUOTA,
        "key",
    ),
    _row(
        "https://docs.litellm.ai/docs/proxy/users",
        400,
        _error(
            "Budget has been exceeded! Current cost: 2, max budget: 1", type="budget_exceeded", code="400"
        ),
        C.QUOTA,
        "key",
    ),
)
"""Of the key, its account and its purse: of no use to anybody for a while."""

MODEL = (
    _row(
        "continuedev/continue#10166",
        404,
        _error("The model `m` does not exist or you do not have access to it.", code="model_not_found"),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "ai.google.dev",
        404,
        _google(
            404,
            "NOT_FOUND",
            "models/gemini-1.5-pro is not found for API version v1beta, or is not supported for generateContent.",
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors",
        404,
        _google(
            404,
            "NOT_FOUND",
            "Publisher Model `projects/p/m` was not found or your project does not have access to it.",
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.anthropic.com/en/api/errors",
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9"}},
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "freellmapi#66",
        404,
        _error("No endpoints found for some/model.", code=404),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "HeyPuter/puter#3168",
        400,
        _error(
            "Unable to access non-serverless model a/b. Create a dedicated endpoint.",
            code="model_not_available",
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "langgenius/dify#2829",
        403,
        {
            "message": "You don't have access to the model with the specified model ID.",
            "__type": "AccessDeniedException",
        },
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "strands-agents/harness-sdk#38",
        400,
        {"message": "The provided model identifier is invalid.", "__type": "ValidationException"},
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "truefoundry/models#949",
        403,
        _error(
            "User u is not authorized to access model m or model does not exist", type="AuthorizationError"
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://learn.microsoft.com/azure/ai-services/openai",
        404,
        _azure("DeploymentNotFound", "The API deployment for this resource does not exist."),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://console.groq.com/docs/deprecations",
        400,
        _error(
            "The model `m` has been decommissioned and is no longer supported.", code="model_decommissioned"
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://api-docs.deepseek.com",
        400,
        _error("Model Not Exist", code="invalid_request_error"),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.mistral.ai",
        400,
        {"object": "error", "message": "Invalid model: m", "type": "invalid_model", "code": "1500"},
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "ollama/ollama", 404, _error("model 'm' not found", type="api_error"), C.MODEL_NOT_FOUND, "endpoint"
    ),
    _row(
        "vllm-project/vllm",
        404,
        {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404},
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.perplexity.ai",
        400,
        _error(
            "Invalid model 'm'. Permitted models can be found in the documentation.",
            type="invalid_model",
            code=400,
        ),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.fireworks.ai",
        404,
        _error("Model not found, inaccessible, and/or not deployed", code="NOT_FOUND"),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.cohere.com/reference/errors",
        404,
        {
            "id": "1",
            "message": "model 'm' not found, make sure the correct model ID was used and that you have access to it.",
        },
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://platform.moonshot.ai/docs/api/chat (errors)",
        404,
        _error("Not found the model m or Permission denied", type="resource_not_found_error"),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.x.ai/docs/key-information/debugging",
        404,
        {
            "code": "Some requested entity was not found",
            "error": "The model grok-9 does not exist or your team t does not have access to it.",
        },
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
    _row(
        "https://docs.litellm.ai",
        403,
        _error("key not allowed to access model", type="key_model_access_denied"),
        C.MODEL_NOT_FOUND,
        "endpoint",
    ),
)
"""Of the model, whatever is asked of it."""

BODIES = (*CONTENT, *REQUEST, *SILENT, *KEY, *MODEL)
