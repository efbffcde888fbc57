"""What analysts and operators write, read from models/ and profiles.yml into frozen values: strict
YAML, models, sources, audiences, parameters, targets, secrets, and their JSON schemas.

Never here: SQL text, a server.
"""
