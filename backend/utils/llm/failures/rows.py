"""The table of failures: which category each kind of response has. The first row that matches decides.

Codes come before statuses, because a provider's code says more (a 429 may be a rate limit or an exhausted credit); its prose
comes last, for providers that send nothing else. Each row has an example that the tests serve from a real socket, so
adding a case is adding a row.

A status alone blames neither the key nor the model, on which other calls depend. 403 and 404 are also the answers to a
flagged prompt, an expired file or an unknown feature; only a code or prose about the key or the model blames these.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import translate
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from ..types import FailureCategory
from .policy import POLICY

if TYPE_CHECKING:
    from collections.abc import Container

    from ..options import Api
    from .evidence import FailureEvidence


@dataclass(frozen=True, slots=True)
class ExampleResponse:
    """An example of a response that a failure rule matches. The tests serve it and check its category.

    Attributes:
        status: The HTTP status.
        body: The body.
        fault: What the test server does instead of sending the response, such as ``hang``, ``cut`` or
            ``refuse``.
    """

    status: int = 200
    body: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A rule that classifies failures: the conditions under which a failure has ``category``.

    A condition that is None matches anything. The first rule that matches decides.

    Attributes:
        api: The API that was called.
        code: One of the provider's codes, in any case of letters; ``*`` stands for any characters.
        status: The HTTP statuses; None among them is an error event in a stream, which has no status.
        says: A regular expression that is found in the provider's message.
        raised: The name of the exception's class, or of a base class.
        answered: Whether the status and headers of an answer arrived.
        sent: Whether a request was sent.
    """

    category: FailureCategory
    example: ExampleResponse
    api: Api | None = None
    code: str | None = None
    status: Container[int | None] | None = None
    says: str | None = None
    raised: str | None = None
    answered: bool | None = None
    sent: bool | None = None

    def may_match(self, api: Api, status: int | None, *, sent: bool, answered: bool) -> bool:
        """Whether the rule can match a failure with these facts, so that its other conditions are worth comparing."""
        return (
            (self.api is None or self.api == api)
            and (self.sent is None or self.sent == sent)
            and (self.answered is None or self.answered == answered)
            and (self.status is None or status in self.status)
        )

    def matches(self, evidence: FailureEvidence) -> bool:
        """Whether the rule matches the codes, the message and the exceptions of ``evidence``.

        Only valid for a rule for which `may_match` is true.
        """
        return (
            (self.code is None or any(map(_pattern(self.code).match, evidence.codes)))
            and (self.raised is None or self.raised in evidence.raised)
            and (self.says is None or re.search(self.says, evidence.sentence, re.IGNORECASE) is not None)
        )


@cache
def _pattern(code: str) -> re.Pattern[str]:
    return re.compile(translate(code.lower()))


def _openai(status: int, code: str | None = None, message: str = "", **more: Any) -> ExampleResponse:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code, **more}
    return ExampleResponse(status, json.dumps({"error": error}))


def _google(status: int, name: str, message: str = "", **detail: Any) -> ExampleResponse:
    error = {"code": status, "status": name, "message": message, "details": [detail] if detail else []}
    return ExampleResponse(status, json.dumps({"error": error}))


def _exceeded(quota: str) -> ExampleResponse:
    return _google(429, "RESOURCE_EXHAUSTED", violations=[{"quotaId": quota}])


C = FailureCategory
_OF_ONE_CALL = frozenset({"alive", "nothing"})
"""What a failure says about the endpoint's health if it is no other call's."""
OF_THE_REQUEST = frozenset(
    {400, 401, 402, 403, 404, 405, 406, 409, 410, 412, 413, 415, 416, 422, 424, 446, 451, 498, None}
)
"""Statuses that may blame the request, the key or the model; None is an error event in a stream."""
BAD_REQUEST = frozenset({400, 413, 422, None})
TOO_MANY = frozenset({403, 429, None})
WHATEVER = OF_THE_REQUEST | {429, 500, 503, 529}
"""Any status, for rows whose message is so clear that it outweighs a contradicting status."""


def _code(category: FailureCategory, status: int, code: str) -> FailureRule:
    return FailureRule(category, _openai(status, code.replace("*", "")), code=code)


def _about(category: FailureCategory, status: int, code: str) -> FailureRule:
    return FailureRule(
        category, _openai(status, code.strip("*").replace("*", "_")), code=code, status=OF_THE_REQUEST
    )


def _counted(quota: str, code: str) -> FailureRule:
    """A row for a quota by Google's name, which has a count of its own for each model."""
    example = _exceeded(f"GenerateRequestsPer{quota}-FreeTier")
    return FailureRule(C.MODEL_QUOTA, example, code=code, status=TOO_MANY)


def _minimax(category: FailureCategory, code: str) -> FailureRule:
    """A row for a code of MiniMax, which comes with status 200; with another status the number may be anybody's."""
    example = ExampleResponse(200, json.dumps({"error": {"message": "", "code": code}}), fault="event")
    return FailureRule(category, example, "openai", code, status=frozenset({None}))


def _but(category: FailureCategory, status: int, code: str, example: str, says: str) -> FailureRule:
    """A row for a code whose meaning these words in the message reverse."""
    return FailureRule(category, _openai(status, code, example), code=code, says=says)


CODES = (
    # One request that is more than a whole minute's allowance is never served here, however long one waits.
    _but(
        C.UNSUPPORTED,
        413,
        "rate_limit_exceeded",
        "Request too large for the model on tokens per minute (TPM): Limit 6000, Requested 12328.",
        r"request too large",
    ),
    _but(
        C.RATE_LIMIT,
        429,
        "insufficient_quota",
        "You exceeded your current quota: https://help.aliyun.com/zh/model-studio/error-code#token-limit",
        r"error-code#token-limit",
    ),
    _code(C.QUOTA, 429, "*insufficient*quota"),
    _code(C.QUOTA, 429, "billing_*"),
    _code(C.QUOTA, 429, "exceeded_current_quota*"),
    _code(C.QUOTA, 403, "insufficient_balance*"),
    _code(C.QUOTA, 403, "insufficient_credits"),
    _code(C.QUOTA, 400, "Arrearage"),
    _code(C.QUOTA, 400, "budget_exceeded"),
    _code(C.QUOTA, 403, "*Overdue*"),
    _code(C.MODEL_QUOTA, 403, "*FreeTierOnly"),  # Alibaba
    _code(C.MODEL_QUOTA, 429, "SetLimitExceeded"),  # Volcengine
    _code(C.QUOTA, 429, "QUOTA_EXHAUSTED"),
    _code(C.QUOTA, 429, "1113"),  # Zhipu
    _code(C.QUOTA, 429, "3036"),  # Cloudflare
    _code(C.CONTEXT, 400, "*context*exceed*"),
    _code(C.CONTEXT, 400, "exceed*context*"),
    _code(C.CONTEXT, 413, "request_too_large"),
    _code(C.CONTEXT, 413, "tokens_limit_reached"),
    _about(C.CONTEXT, 400, "1261"),  # Zhipu
    _about(C.REFUSAL, 400, "*content_filter*"),
    _about(C.REFUSAL, 403, "contentFilter*"),
    _about(C.REFUSAL, 403, "*content_policy*"),
    _about(C.REFUSAL, 400, "ContentPolicy*"),
    _about(C.REFUSAL, 400, "ResponsibleAI*"),
    _about(C.REFUSAL, 403, "*moderation*"),
    _about(C.REFUSAL, 403, "*flagged*"),
    _about(C.REFUSAL, 400, "*sensitive*"),
    _about(C.REFUSAL, 400, "data*inspection*failed"),
    _about(C.REFUSAL, 403, "*guardrail*"),
    _about(C.REFUSAL, 403, "*safety*"),
    _about(C.REFUSAL, 400, "prohibited_content"),
    _about(C.REFUSAL, 403, "refusal"),
    _about(C.REFUSAL, 446, "hooks_failed"),
    _about(C.REFUSAL, 400, "1301"),  # Zhipu
    _minimax(C.REFUSAL, "1026"),  # of the prompt
    _minimax(C.REFUSAL, "1027"),  # and of the answer
    _about(C.REFUSAL, 400, "2016"),  # Cloudflare's gateway, of the prompt
    _about(C.REFUSAL, 400, "2017"),  # and of the answer
    _code(C.MODEL_NOT_FOUND, 403, "model_not_*"),
    _code(C.MODEL_NOT_FOUND, 404, "ModelNotFound*"),
    _code(C.MODEL_NOT_FOUND, 400, "no_available_model*"),
    _code(C.MODEL_NOT_FOUND, 400, "*_for_model"),
    _code(C.MODEL_NOT_FOUND, 400, "model_decommissioned"),
    _about(C.MODEL_NOT_FOUND, 400, "model_terms_required"),
    _code(C.MODEL_NOT_FOUND, 400, "invalid_model"),
    _code(C.MODEL_NOT_FOUND, 404, "ModelNotOpen*"),
    _code(C.MODEL_NOT_FOUND, 404, "InvalidEndpointOrModel*"),
    _code(C.MODEL_NOT_FOUND, 403, "key_model_access_denied"),
    _code(C.MODEL_NOT_FOUND, 404, "DeploymentNotFound"),
    _code(C.MODEL_NOT_FOUND, 400, "dedicated_endpoint_not_running"),
    _code(C.MODEL_NOT_FOUND, 400, "InvalidEndpoint.*"),
    _code(C.MODEL_NOT_FOUND, 404, "UnsupportedModel"),
    _code(C.MODEL_NOT_FOUND, 403, "*ServiceNotOpen"),
    _about(C.MODEL_NOT_FOUND, 400, "1211"),  # Zhipu
    _about(C.MODEL_NOT_FOUND, 400, "122?"),
    _code(C.CREDENTIAL, 400, "*API_KEY*"),
    _code(C.CREDENTIAL, 403, "account_*"),
    _code(C.CREDENTIAL, 400, "invalid_organization"),
    _code(C.CREDENTIAL, 400, "organization_restricted"),
    _code(C.CREDENTIAL, 401, "token_not_found_in_db"),  # LiteLLM
    _about(C.CREDENTIAL, 403, "3023"),  # Cloudflare
    _minimax(C.CREDENTIAL, "1004"),
    _minimax(C.CREDENTIAL, "2049"),
    _minimax(C.RATE_LIMIT, "1039"),  # of tokens
    _minimax(C.RATE_LIMIT, "1041"),  # of connections
    _minimax(C.RATE_LIMIT, "2045"),  # of growth
    _code(C.CREDENTIAL, 403, "unsupported_country_region_territory"),  # whatever is asked from here
    _code(C.CREDENTIAL, 400, "authentication_error"),
    _code(C.CREDENTIAL, 403, "UNAUTHENTICATED"),
    _code(C.CREDENTIAL, 403, "CONSUMER_*"),
    _code(C.CREDENTIAL, 403, "SERVICE_DISABLED"),
    _code(C.CREDENTIAL, 403, "access_terminated*"),
    _code(C.CREDENTIAL, 403, "insufficient_permissions"),
    _code(C.CREDENTIAL, 403, "missing_scope"),
    _code(C.CREDENTIAL, 403, "ExpiredToken*"),
    _code(C.CREDENTIAL, 403, "UnrecognizedClient*"),
    _code(C.CREDENTIAL, 403, "InvalidClientTokenId"),
    _code(C.CREDENTIAL, 403, "InvalidSignature*"),
    _about(C.UNSUPPORTED, 400, "unsupported_*"),
    _about(C.UNSUPPORTED, 400, "image_parse_error"),
    _about(C.UNSUPPORTED, 400, "previous_response_not_found"),
    _about(C.UNSUPPORTED, 404, "*file_not_found*"),
    _code(C.SERVER, 498, "capacity_exceeded"),
    _about(C.SERVER, 424, "Model*ErrorException"),  # Bedrock
    _counted("DayPerProjectPerModel", "*PerDay*PerModel*"),
    _counted("ModelPerDay", "*PerModel*PerDay*"),
    FailureRule(C.QUOTA, _exceeded("GenerateRequestsPerDayPerProject"), code="*PerDay*"),
    FailureRule(C.RATE_LIMIT, _exceeded("GenerateRequestsPerMinutePerProjectPerModel"), code="*PerMinute*"),
)
"""The rows for providers' codes, without ambiguous ones such as ``permission_denied`` (a key's or content's fault)."""


def _prose(category: FailureCategory, example: ExampleResponse, says: str) -> FailureRule:
    return FailureRule(category, example, status=BAD_REQUEST, says=says)


def _wording(category: FailureCategory, status: int, example: str, says: str) -> FailureRule:
    """A row for any answer with these words in its message."""
    return FailureRule(category, _openai(status, None, example), status=OF_THE_REQUEST, says=says)


def _plain(category: FailureCategory, status: int, example: str, says: str) -> FailureRule:
    return FailureRule(category, _openai(status, None, example), status=WHATEVER, says=says)


OUTPUT = (
    _prose(
        C.UNSUPPORTED,
        _openai(400, None, "The maximum tokens you requested exceeds the model limit of 32768."),
        r"\bmax(imum)?[ _]?((output|completion|new)[ _])?tokens\b[^.]{0,60}"
        r"(must be|(can)?not exceed|exceeds? the (model|max)|(less|greater|larger|more|higher) than|limited|at most)",
    ),
)
"""Errors about the requested length of the answer, which a larger window would not help."""

CONTEXT = (
    _prose(
        C.CONTEXT,
        _openai(400, None, "This model's maximum context length is 8192 tokens."),
        r"\bcontext[ _-]?(length|window|size|limit)|(prompt|sequence|input) length is|(model|input) token limit"
        r"|too many (input )?tokens|(reduce|shorten|trim) (the length of )?(the|your) (prompt|input|messages?|conversation)"
        r"|longer than the (model|max)|\b(prompt|input|messages?|request|tokens?)\b[^.]{0,60}(larger|greater|more) than (the )?(model|max|context|limit)"
        r"|length of (the )?(prompt|input)|max_(seq_len|model_len|\w*input\w*|prompt\w*)\b",
    ),
    _prose(
        C.CONTEXT,
        _google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        r"\b(prompt|input|request|conversation|messages?|tokens?|payload)\b( [\w()]+){0,4} "
        r"(too (long|large|big)|exceed(s|ed)?)\b(?! (your|the rate))",
    ),
    _prose(
        C.CONTEXT,
        _openai(400, None, "Input validation error: inputs must have less than 4096 tokens. Given: 4545"),
        r"(less|fewer|at most|more) than \d+ tokens|tokens \+ [^.]{0,20}must be|\(\d+ tokens\)|range of input length"
        r"|(max|maximum supported) (sequence )?length|tokens to keep|keep the first \d+ tokens|n_ctx|cannot truncate",
    ),
    _prose(
        C.CONTEXT,
        _openai(400, None, "输入超过最大长度"),
        "(超出|超过|超過|超长|过长|過長).{0,20}(长度|長度|上下文|token)|(长度|長度|上下文|输入|輸入|prompt|token).{0,20}(超出|超过|超過|超长|过长|過長)"
        "|(コンテキスト|トークン|入力|プロンプト).{0,20}(超え|超過|長すぎ|上限)",
    ),
    FailureRule(
        C.CONTEXT,
        _openai(500, None, "Context size has been exceeded."),
        status=frozenset({500}),
        says=r"\bcontext[ _-]?(length|window|size)\b[^.]{0,40}exceed|exceed\w*\b[^.]{0,40}\bcontext[ _-]?(length|window|size)\b",
    ),
)

DIALECT = (
    _prose(
        C.UNSUPPORTED,
        _openai(400, None, "Invalid JSON payload received. Unknown name: Cannot find field."),
        r"\b(unknown|unrecogni[sz]ed|unexpected|unsupported) (\w+ )?(name|variant|field|param\w*|argument|keyword|key|role)"
        r"|cannot find field|any variant|extra (inputs|fields)|reasoning_content|thought_?signature|only supports? stream",
    ),
)
"""Errors about parameters that this endpoint does not know, or requires."""

MALFORMED = (
    _prose(
        C.REJECTED,
        _openai(400, None, "We could not parse the JSON body of your request."),
        r"pars(e|ing) (the |your )?(json |request )*(body|payload)|(malformed|invalid|not valid|valid) json\b(?! schema)"
        r"|json (decode|parse|syntax)|unexpected (token|end of|character)|expecting (value|property|',')|body is empty",
    ),
    _prose(
        C.REJECTED,
        _openai(400, "missing_required_parameter", "Missing required parameter: 'messages'."),
        r"\bmissing (\w+ ){0,5}required\b|not received|\brequired ([\w()]+ ){0,3}(is |are )?missing|both be none|field required"
        r"|(model|messages)\W* (param\w* |field )?(is|are) required|provide (a |the )?(model|messages)|request is missing",
    ),
    _prose(
        C.REJECTED,
        _openai(400, "invalid_type", "Invalid type for 'messages': expected an array, but got a string."),
        r"\binvalid type for|is not of type|should be a valid (list|dict\w*|integer|number|boolean)|but got an? (integer|null|object)",
    ),
    _prose(
        C.REJECTED,
        _openai(400, "empty_array", "Invalid 'messages': empty array."),
        r"empty array|\[\] is too short|\bmessages?( list| array)? (is|are|must not be|should not be|cannot be|can't be) empty\W*$"
        r"|messages empty|at least (one|1) (message|token)|should have at least 1|names? must be unique|name \S+ is duplicated"
        r"|tools`? must be set",
    ),
)
"""Errors about requests that no endpoint would take: broken JSON, missing fields, wrong types, empty input."""


def _in_a_stream(category: FailureCategory, example: str, says: str) -> FailureRule:
    error = {"error": {"message": example}}
    return FailureRule(
        category,
        ExampleResponse(200, json.dumps(error), fault="event"),
        "openai",
        status=frozenset({None}),
        says=says,
    )


PACE = (
    _in_a_stream(
        C.RATE_LIMIT,
        "Requests rate limit exceeded, please try again later.",
        r"\brate[ _-]?limit|too many requests|requests per (minute|second)|\b[rt]pm\b|throttl|too many tokens, please wait before"
        "|速率限制|请求过于频繁|频率超|并发.{0,8}(过高|超)",
    ),
    _in_a_stream(
        C.SERVER,
        "The engine is currently overloaded, please try again later.",
        r"\boverload|high traffic|over capacity|temporarily unavailable|server is busy",
    ),
)
"""Rate limits without a status that says so: in a stream, or with status 200."""

BUSY = (
    _prose(
        C.SERVER,
        _openai(400, None, "Function id: DEGRADED function cannot be invoked"),
        r"degraded function|not ready for inference",
    ),
)
"""Errors about a model that is temporarily not available."""

MODEL_PURSES = (
    FailureRule(
        C.MODEL_QUOTA,
        _openai(429, None, "Quota exceeded for metric: free_tier_requests, limit: 0, model: some-model"),
        status=frozenset({429, None}),
        says=r"quota exceeded for metric: \S+, limit: 0, model: |doesn't have a free quota tier"  # Google
        r"|rate limit exceeded: free-models-per-day"  # OpenRouter
        r"|reached the set inference limit for the \S+ model"  # Volcengine
        r"|too many tokens per day, please wait"  # Bedrock
        r"|(tokens|requests) per day limit exceeded",  # Cerebras
    ),
    FailureRule(
        C.MODEL_QUOTA,
        _openai(403, None, "The free tier of the model has been exhausted."),
        status=frozenset({403, None}),
        says=r"the free tier of the model has been exhausted",  # Alibaba
    ),
)
"""Errors about a key's quota for one model; the key works with others. Only in the provider's own words: others may be a prompt's."""

EMPTY_PURSES = (
    _plain(
        C.QUOTA,
        429,
        "Insufficient balance or no resource package. Please recharge.",
        r"insufficient (account )?(balance|funds)|no resource package|(credits|balance) (are|is) (depleted|exhausted)"
        r"|quota is (not enough|insufficient)|out of credits|exceeded ?budget|余额不足|餘額不足|欠费|残高(が|不足)"
        r"|(额度|額度|配额|配額|套餐|クレジット).{0,8}(不足|用尽|用盡|耗尽|用完|到期)",
    ),
    _plain(
        C.QUOTA,
        429,
        "Your team has either used all available credits or reached its monthly spending limit.",
        r"(used|exceeded|reached|hit)\b[^.]{0,30}\b(available credits|monthly|spend(ing)?|budget|billing cycle|daily free)\b"
        r"|(spend(ing)?|monthly) (limit|cap)\b[^.]{0,30}(exceed|reach|hit)|usage limit reached|reached your ([\w-]+ ){1,3}usage limit|达到.{0,12}(使用|用量)上限|calls / month|daily (\w+ ){0,2}limit|quota exceeded for metric: \S+, limit: 0\b",
    ),
    _wording(
        C.QUOTA,
        412,
        "Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices.",
        r"suspended\b[^.]{0,80}(spend|invoice|pay|billing|balance|overdue)|reached your usage limit|usage limit for this billing",
    ),
)
"""Errors about used-up credit, which come before all other messages."""

CLOSED = (
    FailureRule(
        C.CREDENTIAL,
        _openai(401, None, "Authentication Error: the token passed cannot be found."),
        status=frozenset({401}),
        says=r"\bauthenticat|unauthori[sz]ed|\b(api[ _-]?key|token)\b",
    ),
    _wording(
        C.CREDENTIAL,
        403,
        "Your project has been denied access.",
        r"\b(account|organi[sz]ation|project|api[ _-]?key|consumer|team|workspace|subscription)\b[^.]{0,80}"
        r"\b(disabled|suspended|deactivated|terminated|banned|revoked|locked|denied access|leaked)\b"
        r"|\baccount (is )?(currently )?(inactive|not active|does not exist)",
    ),
    FailureRule(
        C.CREDENTIAL,
        _openai(403, "403", "Access denied due to Virtual Network/Firewall rules."),
        status=frozenset({403}),
        says=r"access denied due to virtual network|a virtual network is configured for this resource",  # Azure
    ),
    _wording(
        C.CREDENTIAL,
        403,
        "This service has been disabled in this account for violation of the Terms of Service.",
        r"\b(disabled|suspended|deactivated|terminated|banned|revoked)\b[^.]{0,30}"
        r"\b(account|organi[sz]ation|project|api[ _-]?key)\b",
    ),
    _wording(
        C.CREDENTIAL,
        403,
        "账号已被封禁",
        "(账号|账户|帳號|帳戶|组织|令牌|密钥|密鑰|アカウント).{0,16}(封禁|禁用|停用|冻结|凍結|停止|注销)",
    ),
)
"""Errors about a key that was closed for good, even if the reason is the content of an earlier request."""

CONTENT = (
    _wording(
        C.MODEL_NOT_FOUND,
        400,
        "Request denied by upstream policy. This model is restricted to authorized applications.",
        r"\bmodel is (restricted|reserved) (to|for)\b",
    ),
    _wording(
        C.UNSUPPORTED,
        404,
        "No endpoints available matching your guardrail restrictions and data policy.",
        r"no (endpoints?|providers?|allowed providers?)( found| are| is)?( available)?"
        r" (that|which|matching|for the selected|support|can)|providers?[^.]{0,30} ignored",
    ),
    _wording(
        C.REFUSAL,
        403,
        "This model requires moderation. Your input was flagged.",
        r"\bflagged\b|\bmoderation\b|moderated",
    ),
    _wording(
        C.REFUSAL,
        403,
        "Content violates usage guidelines. Failed check: a safety check.",
        r"usage (polic|guideline)|(violat|breach|against)\w*[^.]{0,60}(polic|guideline|standard)|polic(y|ies) violation"
        r"|\b(prompt|input|content|request|message|output)\b[^.]{0,40}\b(violat\w+|prohibited|disallowed|polic(y|ies))\b",
    ),
    _wording(
        C.REFUSAL,
        400,
        "Stopped by content filtering.",
        r"content[ _-]?(polic|filter|management|moderat|safety|violat|restrict|inspect|review|check|security)",
    ),
    _wording(
        C.REFUSAL,
        403,
        "We have limited access to this content for safety reasons.",
        r"\b(safety|security)[ _-]?(reason|check|system|filter|polic|setting|guideline|classifier|model|config|concern)",
    ),
    _wording(
        C.REFUSAL,
        403,
        "Request blocked by Model Armor: prompt injection patterns detected.",
        r"guardrail|blocked by (\w+ )?polic|model armor|prompt[ _-]injection|jailbreak|prompt[ _-]?(guard|shield)|responsible ai|ai policy",
    ),
    _wording(
        C.REFUSAL,
        400,
        "Content Exists Risk",
        r"content exists risk|(high|considered|security|content) risk|risk[ -]control",
    ),
    _wording(
        C.REFUSAL,
        400,
        "Input data may contain inappropriate content.",
        r"\b(inappropriate|harmful|unsafe|sensitive|prohibited|disallowed|objectionable|offensive|explicit|illegal)\b"
        r"[^.]{0,40}\b(content|data|words?|information|text|prompts?|inputs?|topics?|material|use|characters?)\b",
    ),
    _wording(
        C.REFUSAL,
        400,
        "The prompt was blocked.",
        r"\b(prompt|input|output|response|content|message|completion|generation|text|query)s?\b"
        r"[^.]{0,30}\b(blocked|filtered|censored|refused|unsafe)\b",
    ),
    _wording(
        C.REFUSAL,
        403,
        "Request blocked: it tells of self-harm.",
        r"self[- ]harm|\bnsfw\b|toxic|profan|harass|\bcsam\b|child (safety|abuse)|hate speech|sexual|violen|\bpii\b|personally identifiable|recitation",
    ),
    _wording(
        C.REFUSAL,
        400,
        "系统检测到输入内容可能包含不安全或敏感内容",
        "敏感|违规|違規|不合规|不安全|(内容|內容)(安全|审核|審核|风险)|(审核|安全审查)(不通过|未通过)|不适当|不適切|有害な|コンテンツ.{0,4}(ポリシー|フィルター)",
    ),
)
"""Errors about the content of a prompt or an answer."""

_THING = (
    r"(files?|cached ?contents?|cache|attachment|upload|items?|container|vector stores?|assistant|thread|conversation"
    r"|previous response|response with id|documents?|images?|videos?|audio|media|pdf|ur[li]s?|storage|objects?|buckets?|batch)"
)
"""What a request may refer to without holding it."""

REFERENCES = (
    _wording(
        C.UNSUPPORTED,
        403,
        "You do not have permission to access the File abc or it may not exist.",
        rf"\b(access|fetch|download|retriev|find|found|open|read|load|use)\w*\b[^.]{{0,40}}\b{_THING}\b",
    ),
    _wording(
        C.UNSUPPORTED,
        403,
        "CachedContent not found (or permission denied)",
        rf"\b{_THING}\b[^.]{{0,80}}"
        r"(not (be )?(found|exist|accessible|persisted|available|fetched|downloaded|retrieved|owned|active|ready)"
        r"|n't exist|expired|deleted|permission|inaccessible|belong|failed)",
    ),
    _wording(
        C.UNSUPPORTED,
        404,
        "No such prompt: no prompt with id abc.",
        rf"\bno (such )?{_THING}\b|(?<!model )(?<!deployment )with id\b[^.]{{0,60}}(not found|n't exist|not exist)"
        r"|\bno (such )?prompt\b",
    ),
    _wording(
        C.UNSUPPORTED,
        402,
        "This request requires more credits, or fewer max_tokens. You can only afford 10.",
        r"fewer max_?tokens|can only afford|tokens limit exceeded|token capacity required",
    ),
)
"""Errors about files and other things that a request refers to, and about its size: other requests may be served."""

MODELS = (
    _wording(
        C.MODEL_NOT_FOUND,
        404,
        "models/some-model is not found for API version v1beta, or is not supported for generateContent.",
        r"\bmodels?\b(?:[^.]|\.(?=\S)){0,100}"
        r"(not found|does ?n[o']t exist|not exist|no longer (available|supported|served|offered)|not (been )?deployed"
        r"|is (not available|unavailable)\b(?! (for|in|with|on|to)\b)|is not supported\W*$|shut ?down"
        r"|(has been|was|is|are) (now )?(deprecated|decommissioned|retired|discontinued|sunset|removed))",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        400,
        "Invalid model: some-model",
        r"\b(unknown|invalid|no such|unrecogni[sz]ed|nonexistent|not found the|not a valid|not find( the)?) model( (name|id|identifier))?\b"
        r"(?! (output|input|param|response|behavio|argument|option|setting))",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        403,
        "You don't have access to the model with the specified model ID.",
        r"\baccess(ing)?( to)?( the| this| non-serverless)? model\b|model access is denied|model identifier|publisher model",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        400,
        "The model some/model-3.2 is not supported by any provider you have enabled.",
        r"\bmodel\b(?:[^.]|\.(?=\S)){0,80}not supported (by|for) (any |the )?(provider|\w+ api)"
        r"|on-demand throughput|not a valid model|not found for account|taken offline|model is gated|no such model",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        403,
        "User has not agreed to the terms of the model.",
        r"\bagreed? to\b.{0,40}\b(terms|licen[cs]e)|\bmodel (name )?(is )?(invalid|disabled|closed)\b"
        r"|allowed to (use|access) (this |the )?(publisher )?model",
    ),
    FailureRule(
        C.MODEL_NOT_FOUND,
        _openai(404, None, "This model version has reached the end of its life."),
        status=frozenset({404}),
        says=r"this model version has reached the end of its life|this model is marked by provider as legacy",  # Bedrock
    ),
    FailureRule(C.MODEL_NOT_FOUND, _openai(503, None, "对于模型 m 无可用渠道"), says="无可用渠道"),
    FailureRule(
        C.MODEL_NOT_FOUND,
        _openai(503, None, "No available channel for model m under group default (distributor)"),
        says=r"no available channels? for model",  # the same gateway's, One API and its kin
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        403,
        "模型不存在",
        "模型.{0,40}(不存在|下线|下線|未开通|未找到|找不到|不可用|无权|未授权)|(无权|没有权限|未开通|不存在).{0,10}模型|无效的?模型(?!参数|输)"
        "|モデル.{0,40}(存在しません|見つかりません|利用できません|廃止|終了)",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        403,
        "This model requires a subscription, upgrade for access.",
        r"\bmodels?\b[^.]{0,60}\b(requires?|needs?|only available|available only)\b[^.]{0,40}(subscri\w+|paid (plan|users?|account|tier)|pro\b|premium|licen[cs]e|verified)"
        r"|\b(account|key|plan|tier|token) is (limited|restricted) to (use|using|access)|use[- ]case form",
    ),
    _wording(
        C.MODEL_NOT_FOUND,
        404,
        "This model is only supported in v1/responses.",
        r"\bmodel is only (supported|available) (in|on|via|through|with|for) (the )?([\w-]+ (api|endpoint)|/?v1/)|not a chat model",
    ),
    _wording(
        C.MODEL_NOT_FOUND, 404, "No endpoints found for some/model.", r"no endpoints (found|available) for"
    ),
    _wording(C.MODEL_NOT_FOUND, 404, "model: some-model", r"^\s*model:\s*\S+\s*$"),
    _wording(
        C.MODEL_NOT_FOUND,
        404,
        "The API deployment for this resource does not exist.",
        r"\b(deployment|(serverless|serving|inference|dedicated) endpoint)\b[^.]{0,60}(not exist|not found|not running)",
    ),
)
"""Errors about the model itself, whatever the request."""

FEATURES = (
    _wording(
        C.UNSUPPORTED,
        403,
        "Your plan does not include this feature.",
        r"\b(feature|beta|tool (use|call)|tools|function call|web search|parameter|modality|structured output|json mode"
        r"|background mode|streaming|image input|fine-?tun\w+)s?\b[^.]{0,60}(not|n't|unsupported|denied|disabled|require|unavailable)"
        r"|(not|n't|lacks?|unsupported|without)\b[^.]{0,60}\b(feature|beta|tool use|tools|function call|web search|parameter"
        r"|modality|structured output|json mode|background mode|image input|fine-?tun\w+)|verified to (stream|use|generate)",
    ),
)
"""Errors about a feature of the API that a request uses."""

PURSES = (
    _wording(
        C.QUOTA,
        403,
        "Key limit exceeded (total limit).",
        r"\b(key|credit|spend(ing)?|usage|budget|monthly|total) (limit|cap)\b[^.]{0,30}(exceed|reach|hit)"
        r"|budget[^.]{0,20}exceeded|exceeded[^.]{0,30}\b(budget|quota)|quota[^.]{0,30}(exceed|exhaust|used up)",
    ),
    _wording(
        C.QUOTA,
        403,
        "Your newly created team doesn't have any credits yet.",
        r"credit balance|\b(insufficient|not enough|no|any|out of|more|remaining|purchase|buy) (account )?"
        r"(credits?|balance|funds|quota)\b",
    ),
    _wording(
        C.QUOTA,
        400,
        "Your account is overdue. Please top up.",
        r"(enable|requires?) billing|billing (account|details|to be enabled|is|hard limit|issue)|payment (is )?required"
        r"|payment method|arrear|overdue|good standing|top[- ]?up|recharge|free tier[^.]{0,40}exhausted|余额|欠费",
    ),
)
"""Errors about payment: credit, billing and spending limits."""

KEYS = (
    _wording(
        C.CREDENTIAL,
        400,
        "User location is not supported for the API use.",
        r"user location is not supported",  # Google: whatever is asked from here
    ),
    _wording(
        C.CREDENTIAL,
        400,
        "Incorrect API key provided.",
        r"\b(invalid|incorrect|wrong|missing|no|expired|revoked|unknown|malformed|bad|another|valid) "
        r"(authentication |authorization )?(api[ _-]?key|credential|bearer|access token|auth token)",
    ),
    _wording(
        C.CREDENTIAL,
        403,
        "Your API key does not have permission to use the specified resource.",
        r"\bapi[ _-]?keys?\b[^.]{0,80}\b(invalid|incorrect|not|expired|missing|required|blocked|denied|restricted|inactive"
        r"|lacks?|n't)",
    ),
    _wording(
        C.CREDENTIAL,
        403,
        "无效的令牌",
        "(密钥|密鑰|令牌|api ?key|鉴权|身份验证|身份驗證|认证).{0,10}(无效|無效|错误|不正确|失效|过期|失败|不存在|封禁|禁用|停用)"
        "|(无效|無效|错误|未提供|缺少).{0,4}(密钥|密鑰|令牌|api ?key)|(apiキー|認証).{0,12}(無効|不正|失敗|エラー|期限|正しく)",
    ),
    FailureRule(
        C.CREDENTIAL,
        _openai(
            403, None, "You have insufficient permissions for this operation. Missing scopes: model.request."
        ),
        status=frozenset({403, None}),
        says=r"(insufficient|missing|lacks?|requir\w*) (the )?(required |necessary )?(permission|scope|privilege|role)"
        r"|scope requirement|permission denied on resource|permission to use the specified|permission[^.]{0,40}\bkey\b"
        r"|verify your (phone|identity|email|account)|not a member of",
    ),
    FailureRule(
        C.CREDENTIAL,
        _openai(403, None, "The user is not authorized to perform this action."),
        status=frozenset({403, None}),
        says=r"\bnot authori[sz]ed|unauthori[sz]ed|authori[sz]ation failed|authenticat|credentials|unregistered callers|identity"
        r"|access to [^.]{1,40} is denied",
    ),
    FailureRule(
        C.CREDENTIAL,
        _openai(403, None, "Your organization does not have access to the API."),
        status=frozenset({403, None}),
        says=r"\b(account|organi[sz]ation|project|workspace|team|tenant|subscription|principal|service account|oauth|token"
        r"|ip( address)?|referr?er|country|region|territory|requests to this api)\b[^.]{0,100}"
        r"(denied|restricted|blocked|inactive|not (active|allowed|permitted|have|in|been used|supported|registered|found)"
        r"|n't have|lacks?|expired|invalid|violat|verif)",
    ),
)
"""Errors about the key and its account."""

CONTRADICTED = (
    _plain(
        C.UNSUPPORTED,
        500,
        "Jinja Exception: Conversation roles must alternate user/assistant/user/assistant/...",
        r"\bjinja|roles must alternate|chat template|(image|audio|video) input is not supported",
    ),
    FailureRule(
        C.UNSUPPORTED,
        _openai(429, None, "Extra usage is required for long context requests."),
        status=TOO_MANY,
        says=r"extra usage is required for long context",
    ),
)
"""Errors about what this endpoint cannot do, with any status: that of llama.cpp is 500."""

LACKS = (
    FailureRule(
        C.UNSUPPORTED,
        _google(400, "INVALID_ARGUMENT", "Audio input is not enabled for models/some-model."),
        status=OF_THE_REQUEST - {401},
        says=r"is not (enabled|supported|available|allowed|permitted) (for|by|in|with|on|to)\b|not support|n't support"
        r"|\bunsupported\b|不支持|サポートされて|対応していません",
    ),
)
"""Errors about an unsupported input or feature that no earlier row explains."""

PROSE = (
    *PACE,
    *BUSY,
    *CONTRADICTED,
    *MODEL_PURSES,
    *EMPTY_PURSES,
    *OUTPUT,
    *CONTEXT,
    *DIALECT,
    *MALFORMED,
    *CLOSED,
    *CONTENT,
    *REFERENCES,
    *MODELS,
    *FEATURES,
    *PURSES,
    *KEYS,
    *LACKS,
)
"""The rows for providers that send only a message, or a code without meaning. Rows about the request come first."""


def _status(category: FailureCategory, *statuses: int) -> tuple[FailureRule, ...]:
    return tuple(
        FailureRule(category, ExampleResponse(status), status=frozenset({status})) for status in statuses
    )


STATUSES = (
    _code(C.RATE_LIMIT, 429, "rate_limit_*"),  # after the prose: some call an empty purse so
    *_status(C.CREDENTIAL, 401),
    *_status(C.QUOTA, 402),
    *_status(C.UNEXPLAINED, 403, 404, 410),
    *_status(C.TIMEOUT, 408),
    *_status(C.SERVER, 409, 425, 498, 499),
    *_status(C.CONTEXT, 413),
    *_status(C.RATE_LIMIT, 429),
    FailureRule(C.SERVER, ExampleResponse(503, "<html>overloaded</html>"), status=range(500, 600)),
    FailureRule(
        C.UNSUPPORTED, ExampleResponse(400), status=range(400, 500)
    ),  # most likely, only this endpoint says so
    FailureRule(
        C.MODEL_NOT_FOUND, ExampleResponse(307), status=range(300, 400)
    ),  # never followed: it may lead anywhere
)
"""The rows that go by the HTTP status."""


def _event(code: str, category: FailureCategory = C.SERVER, api: Api = "openai") -> FailureRule:
    error = {"error": {"message": "", "type": code, "code": code}}
    return FailureRule(category, ExampleResponse(200, json.dumps(error), fault="event"), api, code)


def _google_event(status: int, code: str) -> FailureRule:
    return FailureRule(
        C.SERVER, ExampleResponse(200, _google(status, code).body, fault="event"), "gemini", code
    )


EVENTS = (
    _event("server_error"),
    _event("internal_error"),
    _event("api_error"),
    _event("overloaded_error"),
    _event("server_overloaded"),
    _event("service_unavailable_error"),
    _event("slow_down"),
    _event("invalid_request_error", C.UNSUPPORTED),
    _event("api_error", api="anthropic"),
    _event("overloaded_error", api="anthropic"),
    _event("invalid_request_error", C.UNSUPPORTED, "anthropic"),
    _google_event(503, "UNAVAILABLE"),
    _google_event(500, "INTERNAL"),
)
"""The rows for codes that say no more than a status, which count only in a stream, where there is none."""

EXCEPTIONS = (
    FailureRule(
        C.UNWORDED, ExampleResponse(fault="unworded"), raised="InexpressibleRequestError", sent=False
    ),
    FailureRule(C.TIMEOUT, ExampleResponse(fault="hang"), raised="TimeoutException", sent=True),
    FailureRule(C.TIMEOUT, ExampleResponse(fault="hang"), raised="TimeoutError", sent=True),
    FailureRule(
        C.CONNECT, ExampleResponse(fault="refuse"), raised="TransportError", sent=True, answered=False
    ),
    FailureRule(C.CONNECT, ExampleResponse(fault="refuse"), raised="OSError", sent=True, answered=False),
    FailureRule(C.INTERRUPTED, ExampleResponse(fault="cut"), raised="TransportError", answered=True),
    FailureRule(C.INTERRUPTED, ExampleResponse(fault="cut"), raised="OSError", answered=True),
    # A success that is no answer: a page, broken JSON, an error object, no choices.
    FailureRule(C.UNREADABLE, ExampleResponse(200, "<!doctype html><title>Sign in</title>"), answered=True),
    FailureRule(
        C.UNREADABLE, ExampleResponse(200, '{"error": {"message": "no upstream"}}'), "openai", answered=True
    ),
    FailureRule(C.UNREADABLE, ExampleResponse(200, "{"), answered=True),
    FailureRule(C.BUG, ExampleResponse(fault="bug")),
)
"""The rows for attempts without an error answer: by the exception, and by how far the exchange had got."""

ROWS: tuple[FailureRule, ...] = (*CODES, *PROSE, *STATUSES, *EVENTS, *EXCEPTIONS)


def find_failure_category(evidence: FailureEvidence) -> FailureCategory:
    """Find the category of the first rule that matches ``evidence``.

    If that rule matches by the error message and its category affects other calls, such as a rejected key,
    the words that repeat the request are removed from the message, and the first rule that still matches
    decides. So the text of a prompt cannot get a key blocked.
    """
    rows = _rows_of(evidence.api, evidence.status, sent=evidence.sent, answered=evidence.answered)
    found = next(row for row in rows if row.matches(evidence))
    if found.says is not None and POLICY[found.category].health not in _OF_ONE_CALL:
        own = evidence.without_request_echoes()
        found = next(row for row in rows if row.matches(own))
    return found.category


@lru_cache(maxsize=256)
def _rows_of(api: Api, status: int | None, *, sent: bool, answered: bool) -> tuple[FailureRule, ...]:
    """The rows that can match such an exchange: for a 503 fewer than half of all."""
    return tuple(row for row in ROWS if row.may_match(api, status, sent=sent, answered=answered))
