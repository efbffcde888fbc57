"""One session on one server: connecting, the read-only snapshot, retries, errors in words, and the
indexes that the server has.

Never here: what a model means.
"""

__all__ = ["indexes", "retries", "session", "snapshot", "sources"]
