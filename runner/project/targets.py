"""profiles.yml and the environment -> the one Target that a command uses."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from runner.clock import seconds_of
from runner.errors import Location, ProfileError, did_you_mean
from runner.project.yaml import Loc, YamlDocument, read_yaml, validated


class FileModes(BaseModel):
    """Who may read what runs write, as chmod has it in octal digits: by default its owner only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: str = "0600"
    folder_mode: str = "0700"

    @field_validator("mode", "folder_mode", mode="before")
    @classmethod
    def _is_octal(cls, mode: object) -> object:
        # YAML reads 0640 as 416, and 640 as a number that has digits above 7
        if not isinstance(mode, str) or not re.fullmatch(r"0?[0-7]{3}", mode):
            raise ValueError(
                f'{mode!r} is not a file mode; write octal digits in quotes, such as "0640"'
            )
        return mode

    @model_validator(mode="after")
    def _suit_their_owner(self) -> FileModes:
        if self.file & 0o600 != 0o600 or self.folder & 0o700 != 0o700:
            raise ValueError("the owner must be able to read and write files and to enter folders")
        if self.file & 0o113 or self.folder & 0o002:
            raise ValueError(
                "files must not be executable or writable for everybody: use 0640 and 0750"
            )
        return self

    @property
    def file(self) -> int:
        return int(self.mode, 8)

    @property
    def folder(self) -> int:
        return int(self.folder_mode, 8)


PROFILE_FILE = "profiles.yml"
FIXED_SETTINGS: dict[str, str | int] = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "extra_float_digits": 1,
    "application_name": "push-audiences",
    # a run's own transactions set their mode; nothing else may write
    "default_transaction_read_only": "on",
}
"""What files and safety rest on, so no profile can change it."""
PLANNER_SETTINGS: dict[str, str | int] = {
    # the server's own 4 is for disks that turn, and makes it scan tables that it had better look up
    "random_page_cost": "1.1",
    # of working tables 3,000 rows are looked at instead of 30,000: the plans are the same
    "default_statistics_target": 10,
}
"""What plans rest on, unless a profile's settings give other values."""
MASK = "********"


class Target(BaseModel):
    """One way to reach a database. Times are in seconds; PostgreSQL settings are its own text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    profile: str = ""
    type: Literal["demo", "postgres"]
    url: SecretStr | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    user: str | None = None
    password: SecretStr | None = None
    dbname: str | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    db_schema: str = Field(default="public", alias="schema")
    connect_timeout: int = Field(default=10, ge=1, le=600)
    deadline: str = "10min"
    statement_timeout: str = "10min"
    lock_timeout: str = "30s"
    hidden: list[SecretStr] = []  # what env_var() gave in settings and session
    settings: dict[str, str | int | float | bool] = {}
    session: list[str] = []
    files: FileModes = FileModes()

    @field_validator("settings")
    @classmethod
    def _leave_the_fixed_alone(cls, settings: dict[str, Any]) -> dict[str, Any]:
        for name in settings:
            if not re.fullmatch(r"[A-Za-z_][\w.]*", name):
                raise ValueError(f"{name!r} is not the name of a PostgreSQL setting")
            if name.lower() in FIXED_SETTINGS:
                raise ValueError(f"{name} is the same in every run and cannot be set here")
        return settings

    @field_validator("deadline")
    @classmethod
    def _is_a_length(cls, deadline: str) -> str:
        seconds_of(deadline)
        return deadline

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> Target:
        parts = [self.host, self.port, self.user, self.password, self.dbname]
        if self.is_demo and (self.url or any(parts)):
            raise ValueError("a demo target needs no url and no host: remove them")
        if self.url and any(parts):
            raise ValueError(
                "give either url, or host with port, user, password and dbname, not both"
            )
        return self

    @property
    def is_demo(self) -> bool:
        return self.type == "demo"

    def reached_at(self, url: str) -> Target:
        """The same target, reached at another URL (the demo learns its URL when it starts)."""
        return self.model_copy(update={"url": SecretStr(url)})

    def connection_parameters(self) -> dict[str, Any]:
        """libpq's keywords and values, secrets revealed: for the driver only."""
        parts = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.get_secret_value() if self.password else None,
            "dbname": self.dbname,
            "sslmode": self.sslmode,
            "sslrootcert": self.sslrootcert,
            "sslcert": self.sslcert,
            "sslkey": self.sslkey,
        }
        return {name: value for name, value in parts.items() if value not in (None, "")}

    def setting_statements(self) -> list[str]:
        """What every session sets, so that nothing is inherited from role, database or server."""
        settings: dict[str, object] = {
            **FIXED_SETTINGS,
            "search_path": self.db_schema,
            "statement_timeout": self.statement_timeout,
            "lock_timeout": self.lock_timeout,
            "idle_in_transaction_session_timeout": "5min",
            "jit": "off",
            **PLANNER_SETTINGS,
            # an error, not fewer rows, where row security hides some
            "row_security": "off",
            **self.settings,
        }
        return [f"set {name} to {_setting(value)}" for name, value in settings.items()]

    def own_statements(self) -> list[str]:
        """The profile's `session:` statements. Each needs a transaction of its own: sent together
        with the settings, it would not yet be read-only."""
        return [statement.strip().rstrip(";") for statement in self.session]


def load_target(
    profiles_dir: Path,
    chosen: str | None,
    environment: Mapping[str, str] | None = None,
    *,
    is_offline: bool = False,
) -> Target:
    """The target that `chosen` or AUDIENCES_TARGET names, else the file's own `target:`.

    Offline, variables that are not set are empty, those in what is printed (`settings`, `session`)
    are stars, and nothing to connect to is asked for.

    Raises `ProfileError`, with file and line, if the file or the target is missing or wrong.
    """
    environment = os.environ if environment is None else environment
    document = _read(profiles_dir / PROFILE_FILE)
    profile = _profile_name(document)
    render = _Renderer(document, environment, is_offline=is_offline)
    outputs = document.data[profile].get("outputs") or {}
    default = render.value((profile, "target"), document.data[profile].get("target", "default"))
    if chosen == "":
        raise ProfileError("--target is empty", fix="name a target, or leave the option out")
    name = chosen or environment.get("AUDIENCES_TARGET") or str(default)
    if not isinstance(outputs, dict) or name not in outputs:
        choices = outputs if isinstance(outputs, dict) else {}
        raise ProfileError(
            f"there is no target {name!r}",
            where=document.location((profile, "outputs")),
            fix=did_you_mean(name, choices),
        )
    return _target(document, (profile, "outputs", name), render, is_offline=is_offline)


def _read(path: Path) -> YamlDocument:
    if not os.path.isfile(path):  # noqa: PTH113  (a Path raises if its name is too long)
        raise ProfileError(
            f"there is no {PROFILE_FILE}",
            where=Location(path),
            fix="run in the project's folder, or name it with --project-dir or --profiles-dir",
        )
    return read_yaml(path, path, ProfileError, may_be_shown=False)


def _profile_name(document: YamlDocument) -> str:
    profiles = document.data if isinstance(document.data, dict) else {}
    names = [str(name) for name, profile in profiles.items() if isinstance(profile, dict)]
    if len(names) == 1:
        return names[0]
    if "push_audiences" in names:
        return "push_audiences"
    raise ProfileError(
        "this file must contain one profile, or one named push_audiences",
        where=Location(document.path),
        looked_at=f"profiles here: {', '.join(names) or 'none'}",
    )


def _target(document: YamlDocument, at: Loc, render: _Renderer, *, is_offline: bool) -> Target:
    given = document.data[at[0]][at[1]][at[2]]
    if not isinstance(given, dict):
        raise ProfileError(
            "a target must be a mapping of keys to values", where=document.location(at)
        )
    for key in ("name", "profile", "hidden"):
        if key in given:
            raise ProfileError(f"unknown key {key!r}", where=document.location((*at, key)))
    resolved = {**render.value(at, given), "name": at[2], "profile": at[0]}
    resolved["hidden"] = render.hidden
    view = YamlDocument(document.path, {"target": resolved}, _moved(document.lines, at))
    target = validated(view, Target, ProfileError, at=("target",))
    if not (target.is_demo or is_offline or target.url or target.host):
        raise ProfileError(
            f"target {target.name!r} has neither url nor host",
            where=document.location(at),
            fix="add url: \"{{ env_var('DATABASE_URL') }}\"",
        )
    return target


def _moved(lines: dict[Loc, int], at: Loc) -> dict[Loc, int]:
    return {
        ("target", *loc[len(at) :]): line for loc, line in lines.items() if loc[: len(at)] == at
    }


class _Renderer:
    """Resolves `env_var()` in the strings of one target, and nothing else."""

    def __init__(
        self, document: YamlDocument, environment: Mapping[str, str], *, is_offline: bool
    ) -> None:
        self._is_offline = is_offline
        self.hidden: list[SecretStr] = []
        self._document = document
        self._environment = environment
        self._jinja = SandboxedEnvironment(undefined=StrictUndefined)

    def value(self, at: Loc, given: Any) -> Any:
        if isinstance(given, dict):
            return {key: self.value((*at, str(key)), below) for key, below in given.items()}
        if isinstance(given, list):
            return [self.value((*at, index), below) for index, below in enumerate(given)]
        return self._text(at, given) if isinstance(given, str) else given

    def _text(self, at: Loc, given: str) -> str:
        where = self._document.location(at)

        def env_var(name: str, default: str | None = None) -> str:
            value = self._environment.get(name, default)
            if self._is_offline and at[3:4] in (("settings",), ("session",)):
                return MASK  # these are printed
            if self._is_offline and value is None:
                return ""
            if at[3:4] in (("settings",), ("session",)) and value:
                self.hidden.append(SecretStr(value))
            if value is None or (value == "" and default is None):
                raise ProfileError(
                    f"target {str(at[2] if len(at) > 2 else at[-1])!r} needs the environment "
                    f"variable {name}, which is unset or empty",
                    where=where,
                    fix=f"set {name}, or choose another target with --target",
                )
            return value

        try:
            return self._jinja.from_string(given).render(env_var=env_var)
        except ProfileError:
            raise
        except Exception as problem:
            # its message may quote a secret
            raise ProfileError(
                f"this Jinja cannot be rendered: {type(problem).__name__}",
                where=where,
                fix="only env_var('NAME') and env_var('NAME', 'default') can be used here",
            ) from None


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    return ", ".join("'" + part.strip().replace("'", "''") + "'" for part in str(value).split(","))
