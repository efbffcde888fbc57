"""Compares two runs, file by file and user by user."""
