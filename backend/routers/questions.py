"""The query parameters of the console's pages. An empty form field counts as missing."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from backend.console.views.explain import ExplainQuestion
from backend.console.views.features import Which
from backend.console.views.spend import By
from backend.ledger.usage import UsageFilter

_NO_NUL: Final = r"^[^\x00]*$"
"""PostgreSQL has no such text."""


def _blank_is_none(text: object) -> object:
    """None for a blank text, which a form sends for a field that was not filled in."""
    return None if text == "" else text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400, pattern=_NO_NUL)]
Name = Annotated[Text | None, BeforeValidator(_blank_is_none)]


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FeaturesPageQuery(_Query):
    """The query parameters of the features page: which features to show, and which page of the list."""

    text: Annotated[str, Field(max_length=200)] = ""
    only: Which = "all"
    page: Annotated[int, Field(ge=1, le=1_000)] = 1


class RequestsPageQuery(_Query):
    """The query parameters of the requests page: which calls to show, or the id of the one call to show."""

    feature: Name = None
    model: Name = None
    user: Name = None
    tenant: Name = None
    owner: Annotated[Literal["house", "user"] | None, BeforeValidator(_blank_is_none)] = None
    outcome: Name = None
    before: Name = None
    call: Name = None

    @property
    def usage_filter(self) -> UsageFilter:
        """The parameters as the filter that `UsageStore` takes."""
        return UsageFilter(self.feature, self.model, self.user, self.tenant, self.owner, self.outcome)


class SpendPageQuery(_Query):
    """The query parameters of the spend page: by what to group the costs, and for how many days."""

    by: By = "feature"
    days: Literal["7", "30", "90"] = "30"


class ExplainPageQuery(_Query):
    """The query parameters of the explain page, which describe the call whose routing is explained."""

    feature: Annotated[str, Field(max_length=200)] = ""
    user: Name = None
    tenant: Name = None
    tier: Name = None
    byok: Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=20)] = ()
    tokens: Annotated[int, BeforeValidator(lambda text: text or 0), Field(ge=0, le=100_000_000)] = 0
    tools: bool = False
    structured: bool = False
    images: bool = False
    audio: bool = False
    video: bool = False
    pdf: bool = False

    @property
    def explain_question(self) -> ExplainQuestion:
        """The call to explain, as the page's view takes it."""
        return ExplainQuestion(**dict(self))
