"""The output folder: the grammar of file names, the run document, a run's claim on its second, and
reading it all back: verify, history, clean, CSV records.

Never here: a server.
"""

__all__ = [
    "claim",
    "clean",
    "csv",
    "document",
    "folder",
    "history",
    "lock",
    "manifest",
    "names",
    "verify",
]
