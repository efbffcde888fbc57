"""Makes the HTML page about a project, its graph and its past runs."""

__all__ = ["page"]
