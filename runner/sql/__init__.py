"""A project and its parameters -> the statements of a run: rendering with source lines, the graph,
checks, the selects of data tests, the psql script. Pure functions of what they are given.

Never here: a server, a file.
"""

__all__ = [
    "check",
    "compile",
    "data_tests",
    "graph",
    "personal",
    "plan",
    "psql_script",
    "render",
    "source_map",
    "tokens",
]
