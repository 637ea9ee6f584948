"""The rows of ``llm.toml``, as they stand in the file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, HttpUrl

from ..catalogue import Effort
from ..options import Api, Options


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Chain = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


class Row(BaseModel):
    """Base of every row: frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProviderRow(Row):
    """Who serves, and how they are spoken to.

    A row with ``api_key_env`` is a cloud provider; one with only a ``base_url`` is a server without keys; one with
    neither is a process of this application that tells its address when it runs.
    """

    api: Api
    base_url: HttpUrl | None = None
    api_key_env: str | None = Field(None, pattern=r"^[A-Z][A-Z0-9_]*$")
    headers: dict[str, str] = Field(default_factory=dict)
    model_prefixes: dict[str, str] = Field(default_factory=dict)


class GroupRow(Row):
    """A named list of endpoints, and the group that takes over when all of them fail."""

    endpoints: Chain
    select: Literal["ordered"] = "ordered"
    then: str | None = None


class FeatureRow(Row):
    """What holds for a feature in every profile."""

    about: str = ""
    pin: Chain | None = None
    structured_output: bool = False
    tools: bool = False
    images: bool = False
    options: Options = Options()
    deadline: float = Field(120.0, gt=0, le=3600)


class ModelRow(Row):
    """Capabilities declared for a model that the catalogue does not know, or knows wrongly."""

    context_window: int | None = Field(None, gt=0)
    max_output: int | None = Field(None, gt=0)
    tools: bool | None = None
    structured_output: bool | None = None
    images: bool | None = None
    temperature: bool | None = None
    cache_key: bool | None = None
    efforts: tuple[Effort, ...] | None = None


class ProfileRow(BaseModel):
    """A quality-of-service column: feature to chain, and the profile it starts from."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Chain] = Field(init=False)

    extends: str | None = None

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Feature to chain, as written in this profile alone."""
        return dict(self.__pydantic_extra__ or {})


class Head(Row):
    """The values that stand before the first section."""

    profile: str = "premium"
    byok_profile: str = "byok"
    demo: str | None = None
