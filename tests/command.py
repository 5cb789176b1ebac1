"""The command line in this process."""

from typer.testing import CliRunner

from mtlbench.harness.cli.app import app


def main(arguments):
    """The exit status of a command."""
    try:
        app(arguments)
    except SystemExit as done:
        return done.code
    return 0


def invoke(*arguments):
    """What a command has printed and its exit status, as typer's Result."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])
