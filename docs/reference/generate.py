"""Writes those pages of docs/reference/ that are made from the code. Run it after every change of
a help text or a YAML key:

    python docs/reference/generate.py

Commands come from the texts that `audiences COMMAND --help` prints, YAML keys from the JSON schemas
that `audiences schema` writes. A test fails if a page differs from what this makes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(ROOT))

from typer.main import get_command  # noqa: E402

from runner.cli.app import app  # noqa: E402
from runner.project.json_schema import schemas  # noqa: E402

MADE = "<!-- Made by docs/reference/generate.py: do not edit. -->"
WIDTH = 120

Schema = dict[str, Any]


def pages() -> dict[Path, str]:
    """Every generated page by its path in docs/reference/."""
    models, profiles = schemas()["models.json"], schemas()["profiles.json"]
    group: Any = get_command(app)
    made = {Path("command-line.md"): command_line(group)}
    for name, command in group.commands.items():
        made[Path("commands") / f"{name}.md"] = command_page(name, command)
    made[Path("audience-yaml.md")] = audience_yaml(models)
    made[Path("models-yaml.md")] = models_yaml(models)
    made[Path("profiles-yaml.md")] = profiles_yaml(profiles)
    return made


def main() -> None:
    (FOLDER / "commands").mkdir(exist_ok=True)
    for path in (FOLDER / "commands").glob("*.md"):
        path.unlink()
    for path, text in pages().items():
        (FOLDER / path).write_text(text, encoding="utf-8")
        print(FOLDER.joinpath(path).relative_to(ROOT))


# Commands


def command_line(group: Any) -> str:
    lines = ["# Command line", "", MADE, "", *prose(group.help)]
    panels: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        does = cell(command.get_short_help_str(limit=1000))
        rows = panels.setdefault(command.rich_help_panel or "Commands", [])
        rows.append(f"| [audiences {name}](commands/{name}.md) | {does} |")
    for panel, rows in panels.items():
        lines += [f"## {panel}", "", *table(("command", "does"), rows)]
    lines += ["## Options of audiences itself", "", *options(group), *prose(group.epilog)]
    return page(lines)


def command_page(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    required = [option for option in visible_options(command) if option.required]
    usage = ["audiences", name]
    usage += [f"{option.opts[0]} {value_name(option)}" for option in required]
    usage += ["[OPTIONS]", *map(argument_name, arguments)]
    lines = [f"# audiences {name}", "", MADE, "", *prose(command.help)]
    lines += ["```text", " ".join(usage), "```", ""]
    if arguments:
        rows = [f"| `{argument_name(one)}` | {cell(one.help)} |" for one in arguments]
        lines += table(("argument", "is"), rows)
    lines += [*options(command), *prose(command.epilog)]
    lines.append("All commands: [command line](../command-line.md).")
    return page(lines)


def argument_name(argument: Any) -> str:
    """An argument as the usage line has it: in brackets if it may be left out."""
    bare = (argument.metavar or argument.name.upper()).strip("[]")
    return bare if argument.required else f"[{bare}]"


def visible_options(command: Any) -> list[Any]:
    found = [one for one in command.params if one.param_type_name == "option"]
    return [option for option in found if not option.hidden]


def options(command: Any) -> list[str]:
    rows = []
    for option in visible_options(command):
        long_first = sorted(option.opts, key=lambda name: not name.startswith("--"))
        names = [f"`{f'{name} {value_name(option)}'.strip()}`" for name in long_first]
        rows.append(f"| {', '.join(names)} | {cell(option.help)}{default(option)} |")
    return table(("option", "what it does"), rows)


def value_name(option: Any) -> str:
    """What follows the option's name; nothing for a switch."""
    if option.is_flag:
        return ""
    if option.metavar:
        return str(option.metavar)
    kind = option.type_descriptor.annotation
    return "\\|".join(get_args(kind)) or {int: "N", Path: "PATH"}.get(kind, "TEXT")


def default(option: Any) -> str:
    """The default, unless there is none or the help text names it."""
    is_told = re.search(r"\bdefault\b", option.help or "", re.IGNORECASE)
    is_there = not option.is_flag and option.default not in (None, "", ())
    return f" Default: `{option.default}`." if is_there and not is_told else ""


# YAML


def audience_yaml(models: Schema) -> str:
    lines = ["# The audience's YAML", "", MADE, ""]
    lines += wrapped(
        "An audience is an entry of `audiences:` in any YAML file below `models/`. How its parts "
        "work together: [models and audiences](../analysts/models.md)."
    )
    lines += sections(models, "audiences[]", {"$ref": "#/$defs/Audience"})
    return page(lines)


def models_yaml(models: Schema) -> str:
    lines = ["# YAML of sources, models and tests", "", MADE, ""]
    lines += wrapped(
        "What a YAML file below `models/` may contain besides [audiences](audience-yaml.md), in "
        "dbt's words. There may be any number of files, under any name."
    )
    keys = {name: schema for name, schema in models["properties"].items() if name != "audiences"}
    lines += sections(models, "", {"properties": keys})
    return page(lines)


def profiles_yaml(profiles: Schema) -> str:
    lines = ["# profiles.yml", "", MADE, ""]
    lines += wrapped(
        "`profiles.yml` holds one profile, or one named `push_audiences`; its `outputs` are the "
        "targets. Any text may use `env_var('NAME')` or `env_var('NAME', 'default')`. How targets "
        "are used: [targets](../operators/targets.md)."
    )
    lines += sections(profiles, "PROFILE", profiles["additionalProperties"])
    return page(lines)


def sections(root: Schema, path: str, schema: Schema) -> Iterator[str]:
    """A heading and a table for a mapping, then for each kind of mapping below it."""
    waiting, headings = [(path, schema)], {schema.get("$ref", path): path}
    while waiting:
        path, schema = waiting.pop(0)
        mapping = resolved(root, schema)
        rows, below = [], []
        for key, given, is_required in keys_of(root, mapping):
            inner = mapping_in(root, given)
            if inner is None:
                rows.append(row(root, key, given, None, is_required=is_required))
                continue
            kind = inner[1].get("$ref", f"{path}.{key}")
            if kind not in headings:
                headings[kind] = f"{path}.{key}{inner[0]}".lstrip(".")
                below.append((headings[kind], inner[1]))
            rows.append(row(root, key, given, headings[kind], is_required=is_required))
        if path:
            yield from [f"## {path}", ""]
        yield from prose(mapping.get("description"))
        yield from table(("key", "value", "default", "is"), rows)
        waiting = below + waiting


def keys_of(root: Schema, mapping: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """The keys of a mapping. One whose value is a mapping of one key is shown as `key.its_key`."""
    for key, given in mapping["properties"].items():
        inner = mapping_in(root, given)
        only = resolved(root, inner[1]) if inner and not inner[0] else {}
        if len(only.get("properties", {})) == 1:
            for below, schema, is_required in keys_of(root, only):
                yield f"{key}.{below}", schema, is_required
        else:
            yield key, given, key in mapping.get("required", [])


def resolved(root: Schema, schema: Schema) -> Schema:
    """The schema behind a reference, and of several possible ones the one of a mapping."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for kind in schema.get("anyOf", []):
        if "properties" in (found := resolved(root, kind)):
            return found
    return schema


def mapping_in(root: Schema, schema: Schema) -> tuple[str, Schema] | None:
    """The mapping with known keys that a value is or holds, and what that adds to its path."""
    for kind in schema.get("anyOf", [schema]):
        if kind.get("type") == "array":
            adds, held = "[]", kind["items"]
        elif isinstance(kind.get("additionalProperties"), dict):
            adds, held = ".NAME", kind["additionalProperties"]
        elif "properties" in resolved(root, kind):
            return "", kind
        else:
            continue
        if found := mapping_in(root, held):
            return adds + found[0], found[1]
    return None


def row(root: Schema, key: str, schema: Schema, heading: str | None, *, is_required: bool) -> str:
    value = " or ".join(dict.fromkeys(in_words(root, schema)))
    if heading is not None:
        value = value.replace("mapping", f"[mapping](#{anchor(heading)})")
    given = schema.get("default")
    shown = "" if given in (None, "", [], {}) or isinstance(given, dict) else f"`{plain(given)}`"
    shown = "required" if is_required else shown
    return f"| `{key}` | {cell(value)} | {shown} | {cell(schema.get('description'))} |"


def in_words(root: Schema, schema: Schema) -> Iterator[str]:
    """What a value may be."""
    if "anyOf" in schema:
        for kind in schema["anyOf"]:
            yield from in_words(root, kind)
    elif "$ref" in schema:
        yield from in_words(root, root["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    elif "const" in schema or "enum" in schema:
        yield ", ".join(f"`{plain(one)}`" for one in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "array":
        yield f"list of {' or '.join(dict.fromkeys(in_words(root, schema['items'])))}"
    elif schema.get("type") == "object":
        yield "mapping"
    elif schema.get("pattern") == r"\{\{.*\}\}":
        yield "`{{ env_var(...) }}`"
    elif schema.get("type") != "null":
        yield scalar(schema)


KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}
BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "pattern": "matching `{}`",
}


def scalar(schema: Schema) -> str:
    bounds = [words.format(schema[key]) for key, words in BOUNDS.items() if key in schema]
    kind = KINDS.get(schema.get("type", ""), "any value")
    return f"{kind} {', '.join(bounds)}".strip()


def plain(value: Any) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# Markdown


def page(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"


def table(columns: tuple[str, ...], rows: Iterable[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *rows, ""]


def prose(text: str | None) -> list[str]:
    """Paragraphs of a help text. A line or an example that is a command becomes a code block."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", (text or "").strip()):
        lines = [line.strip().removeprefix("Example: ") for line in paragraph.splitlines()]
        commands = [line for line in lines if line.startswith("audiences ")]
        found += wrapped(" ".join(line for line in lines if line not in commands))
        found += ["```sh", *commands, "```", ""] if commands else []
    return found


def wrapped(text: str) -> list[str]:
    """A paragraph in lines of at most 120 columns, and an empty line; nothing for no text."""
    lines = [""] if text else []
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [*lines, ""] if lines else []


def cell(text: str | None) -> str:
    """Text for a cell of a table: on one line, with bars that end no cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join((text or "").split()))


def anchor(heading: str) -> str:
    """The name that a heading has in links, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    main()
