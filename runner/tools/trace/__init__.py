"""Follows one user through an audience's models and names the step that decided."""

__all__ = ["trace"]
