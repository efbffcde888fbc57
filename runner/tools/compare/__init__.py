"""Compares the CSV files of two runs, file by file and user by user."""

__all__ = ["compare", "differences"]
