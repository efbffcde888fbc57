"""JSON Schemas of the YAML files, so that an editor completes and checks them while one writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from runner.errors import ExportError
from runner.project.properties import Properties
from runner.project.targets import Target
from runner.project.unit_test import UnitTest

SCHEMAS_FOLDER = ".schemas"
"""In the project's folder: the YAML files name it by a relative path, which every clone has."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


class _File(Properties):
    """One YAML file below models/, its unit tests included."""

    model_config = ConfigDict(title="Properties")

    unit_tests: list[UnitTest] = []


def schemas() -> dict[str, Schema]:
    """A schema for each kind of YAML file, by the name of its own file."""
    return {"models.json": _models(), "profiles.json": _profiles()}


def write_schemas(folder: Path) -> list[Path]:
    """Write them into `folder`; their paths. Raises `ExportError`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in schemas().items():
            text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise ExportError(
            f"cannot be written: {problem.strerror}",
            where=str(problem.filename or folder),
            fix="choose another folder with --to",
        ) from None
    return [folder / name for name in schemas()]


def _models() -> Schema:
    return {"$schema": DIALECT, **_File.model_json_schema()}


def _profiles() -> Schema:
    """profiles.yml: the keys of a target, where a number may also come from `env_var()`."""
    target = Target.model_json_schema()
    definitions = target.pop("$defs", {})
    properties = target["properties"]
    for ours in ("name", "profile", "hidden"):
        del properties[ours]
    target["required"] = ["type"]
    target["properties"] = {name: _or_jinja(one) for name, one in properties.items()}
    profile = {
        "type": "object",
        "required": ["outputs"],
        "properties": {
            "target": {"type": "string", "description": "The target if none is chosen."},
            "outputs": {"type": "object", "additionalProperties": target},
        },
    }
    return {
        "$schema": DIALECT,
        "title": "profiles.yml",
        "type": "object",
        "additionalProperties": profile,
        **({"$defs": definitions} if definitions else {}),
    }


def _or_jinja(schema: Schema) -> Schema:
    kinds = schema.get("anyOf", [schema])
    if not any(kind.get("type") == "integer" for kind in kinds):
        return schema
    rest = {key: value for key, value in schema.items() if key in ("title", "default")}
    kinds = [{k: v for k, v in kind.items() if k not in rest} for kind in kinds]
    return {**rest, "anyOf": [*kinds, {"type": "string", "pattern": r"\{\{.*\}\}"}]}
