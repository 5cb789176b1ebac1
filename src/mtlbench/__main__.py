"""`python -m mtlbench` is the command line."""

from mtlbench.harness.cli.app import main

if __name__ == "__main__":
    main()
