"""Follows users through an audience's models, and finds the rule that decides about them."""

__all__ = ["trace"]
