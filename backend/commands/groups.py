"""Typer groups whose help shows each command's whole summary, and that import a command on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = {"help_option_names": ["-h", "--help"]}
_WHOLE = 1_000
"""Letters of a summary: more than any has."""


class Group(TyperGroup):
    """A group whose help wraps the summaries of its commands instead of cutting them."""

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, self.commands[name].get_short_help_str(_WHOLE)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Deferred(TyperCommand):
    """A command known by its name and summary; its module is imported on first use.

    Args:
        name: The name to type. The module has the same name, with underscores.
        summary: The first sentence of the command's help.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.module = f"backend.commands.{name.replace('-', '_')}"

    def load(self) -> Any:
        """Import the command, which its module calls ``app``."""
        command = get_command(import_module(self.module).app)
        command.name = self.name
        return command


class DeferredGroup(Group):
    """A group of `Deferred` commands, whose help imports none of them."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Deferred) else command, rest


def commands(help: str | None = None, **options: Any) -> typer.Typer:  # noqa: A002 - Typer's own name for it
    """Make the ``app`` of a command module, to which the module adds one command or several.

    Help is plain text: a table of Rich's cuts the names of options on a narrow screen, and takes three times as long.
    """
    return typer.Typer(
        cls=Group,
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
        **options,
    )


def deferred(summaries: Mapping[str, str], **options: Any) -> typer.Typer:
    """Make the ``patchbay`` command line from the names and summaries of its commands, which are imported on first use.

    Args:
        summaries: The summary of each command, by its name.
        options: Further options of Typer's.
    """

    class Known(DeferredGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = {name: Deferred(name, summary) for name, summary in summaries.items()}

    app = typer.Typer(
        cls=Known, no_args_is_help=True, rich_markup_mode=None, context_settings=SETTINGS, **options
    )
    app.callback()(lambda: None)
    return app
