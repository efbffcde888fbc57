"""Explains the plan of every statement of a run, and which indexes would help."""

__all__ = ["explain"]
