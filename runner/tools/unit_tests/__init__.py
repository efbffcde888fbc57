"""Runs models on given rows, and checks that small changes of a model are noticed."""

__all__ = ["mutations", "unit_tests"]
