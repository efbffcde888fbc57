"""`python -m runner` is the `audiences` command."""

from runner.cli.app import main

main()
