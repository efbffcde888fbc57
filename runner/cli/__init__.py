"""The command line: the app, its options, what is printed, and one file per command.

Never here: a rule. A command parses, calls one function that a test or a notebook can call too, and
prints.
"""
