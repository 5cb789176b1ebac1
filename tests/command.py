"""The command line in this process."""

from mtlbench.harness.cli.app import app


def main(arguments):
    """The exit status of a command."""
    try:
        app(arguments)
    except SystemExit as done:
        return done.code
    return 0
