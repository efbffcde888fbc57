"""What analysts and operators write, read from models/ and profiles.yml into frozen values: strict
YAML, models, sources, audiences, parameters, targets, secrets, and their JSON schemas.

Never here: SQL text, a server.
"""

__all__ = [
    "audience",
    "json_schema",
    "load",
    "macros",
    "nodes",
    "parameters",
    "properties",
    "secrets",
    "targets",
    "unit_test",
    "yaml",
]
