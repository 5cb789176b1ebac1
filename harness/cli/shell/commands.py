"""How commands show their usage, and say what is missing."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from mtlbench.harness.cli.usage import fail


class Commands(TyperGroup):
    """Says in a line with an example which argument is missing, and of a value that an option refuses what it takes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if hasattr(error, "param_type"):  # only the error of a missing argument has one
                raise fail(_missing(error)) from None
            error.message = error.message.removeprefix("Value error, ")
            raise


class Command(TyperCommand):
    """A command whose usage names arguments as manuals do: NAME, [NAME] and [NAME]..."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [_argument(param) for param in self.get_params(ctx) if param.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]


def _argument(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return (name if param.required else f"[{name}]") + ("..." if param.nargs != 1 else "")


def _missing(error: Any) -> str:
    """What a command line lacks, with the example of the command's help."""
    of_argument = error.param.param_type_name == "argument"
    what = _argument(error.param) if of_argument else error.param.opts[0]
    _, _, after = (error.ctx.command.help or "").partition("Example:")
    example = next(iter(after.strip().splitlines()), "")
    command = error.ctx.command_path.partition("mtlbench ")[2]
    return f"{command} needs {what}" + (f"; for example: {example}" if example else "")
