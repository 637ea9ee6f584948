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


class WrappedHelpGroup(TyperGroup):
    """A command group whose help shows each command's whole summary, wrapped to several lines instead of cut off."""

    @override
    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, self.commands[name].get_short_help_str(_WHOLE)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyCommand(TyperCommand):
    """A command whose module is imported only at its first use. Until then, only name and summary are known.

    Args:
        name: The name to type. The module has the same name, with underscores.
        summary: The first sentence of the command's help.
    """

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.module = f"backend.commands.{name.replace('-', '_')}"

    def load_command(self) -> Any:
        """Import the command's module, and return the command made from the Typer app ``app`` in it."""
        command = get_command(import_module(self.module).app)
        command.name = self.name
        return command


class LazyGroup(WrappedHelpGroup):
    """A command group whose help lists all its `LazyCommand` commands without importing them."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load_command() if isinstance(command, LazyCommand) else command, rest


def make_command_app(help: str | None = None, **options: Any) -> typer.Typer:  # noqa: A002 - Typer's own name for it
    """Make the Typer ``app`` of a command module, to which the module then adds its commands.

    Help is plain text: Rich's tables cut the names of options on a narrow screen, and take three times as
    long.
    """
    return typer.Typer(
        cls=WrappedHelpGroup,
        help=help,
        add_completion=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
        **options,
    )


def make_lazy_app(summaries: Mapping[str, str], **options: Any) -> typer.Typer:
    """Make the Typer app of the whole ``patchbay`` command line.

    The module of a command is imported on the command's first use.

    Args:
        summaries: The summary of each command, by its name.
        options: Further options for Typer.
    """

    class Known(LazyGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = {name: LazyCommand(name, summary) for name, summary in summaries.items()}

    app = typer.Typer(
        cls=Known, no_args_is_help=True, rich_markup_mode=None, context_settings=SETTINGS, **options
    )
    app.callback()(lambda: None)
    return app
