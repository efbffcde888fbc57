"""The embedded PostgreSQL server and its made-up marketplace.

Never here: anything that a run on a real target needs.
"""

__all__ = ["demo"]
