"""One room for each command that no run needs: check, show, explain, trace, compare, docs, tests,
new. Without this folder a run still runs.

Never here: one tool that knows another.
"""

__all__ = ["check", "compare", "docs", "explain", "new", "show", "trace", "unit_tests"]
