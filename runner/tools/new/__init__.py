"""Writes the folder of a new audience, which runs at once. It changes no file of the project."""

__all__ = ["new"]
