"""deploy/: each file is read by what will read it there, or by its rules."""

from __future__ import annotations

import configparser
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
import yaml

from runner.clock import seconds_of
from runner.errors import EXIT_LOCKED
from runner.project.audience import Legacy
from runner.project.load import load_project
from runner.project.targets import Target
from tests.docs.pages import DEPLOY, DOCS, calls, parsed
from tests.support import AS_OF, ROOT, Database, run_layer3, run_project

LONGEST_RUN = max(
    Legacy(command=["program", "{output_dir}"]).timeout_seconds,
    seconds_of(Target(name="any", type="demo").deadline),
)


def the_run(line: str) -> dict[str, Any]:
    (words,) = calls(line)
    return parsed(words)


def test_every_file_is_in_the_page_of_schedulers() -> None:
    page = (DOCS / "operators" / "schedulers.md").read_text()
    for path in DEPLOY.rglob("*"):
        names = {str(one.relative_to(ROOT)) for one in (path, path.parent)}
        assert path.is_dir() or any(f"](../../{name})" in page for name in names), path


# The role


@pytest.fixture
def reader(golden: Database) -> Iterator[str]:
    """The role that deploy/role.sql makes, under a name of this test's own."""
    name = f"deploy_reader_{os.getpid()}"
    statements = (DEPLOY / "role.sql").read_text().replace("push_audiences", name)
    golden.execute(statements.replace("marketplace", golden.connection.info.dbname))
    yield name
    golden.execute(f"drop owned by {name}; drop role {name}")


def test_the_role_can_run_and_can_write_nothing(
    golden: Database, reader: str, tmp_path: Path
) -> None:
    if golden.connection.info.server_version < 150000:
        golden.execute("revoke create on schema public from public")
    target = golden.target(user=reader, password="change-me")
    result = run_project(
        ROOT, golden, tmp_path / "out", audience="layer3-behavior", target=target, as_of=AS_OF
    )
    assert (result.status, result.audience_size) == ("success", 216)
    assert (
        result.metadata.working_tables
        == run_layer3(golden, tmp_path / "owner").metadata.working_tables
    )
    given = {**golden.connection.info.get_parameters(), "user": reader, "password": "change-me"}
    host, port = golden.connection.info.host, golden.connection.info.port
    for statement in (
        "insert into users (id) values (gen_random_uuid())",
        "update users set username = 'x'",
        "delete from offers",
        "truncate offers",
        "create table public.mine (n int)",
        "create schema mine",
    ):
        with (
            psycopg.connect(**{**given, "host": host, "port": port}, autocommit=True) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute("set default_transaction_read_only to off")
            connection.execute(statement)


def test_the_grants_are_those_of_the_sources() -> None:
    text = (DEPLOY / "role.sql").read_text()
    granted = set(re.findall(r"^    public\.(\w+)", text, re.MULTILINE))
    assert granted == {source.table for source in load_project(ROOT).sources.values()}


# The environment, cron, systemd


def test_the_environment_file_is_read_alike_by_a_shell_and_by_systemd() -> None:
    path = DEPLOY / "push-audiences.env"
    script = f"set -a && . {shlex.quote(str(path))} && exec env"
    seen = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    variables = dict(line.split("=", 1) for line in seen.stdout.splitlines())
    assert variables["AUDIENCES_TARGET"] == "prod"
    # systemd reads a line as it is, but for quotes around the value
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            name, value = line.split("=", 1)
            assert variables[name] == value.strip("'")


def test_the_crontab_line_runs_at_five_past_every_hour() -> None:
    (line,) = [line for line in (DEPLOY / "crontab").read_text().splitlines() if line[:1].isdigit()]
    *times, command = line.split(maxsplit=5)
    assert times == ["5", "*", "*", "*", "*"]
    assert "%" not in command, "cron takes it for a newline"
    given = the_run(command)
    assert (given["audience"], given["quiet"]) == ("layer3-behavior", True)


@pytest.mark.skipif(shutil.which("crontab") is None, reason="there is no cron here")
def test_cron_itself_takes_the_crontab(tmp_path: Path) -> None:
    assert (
        subprocess.run(["crontab", "-n", DEPLOY / "crontab"], capture_output=True).returncode == 0
    )
    path = tmp_path / "crontab"
    path.write_text((DEPLOY / "crontab").read_text().replace("\n5 *", "\n65 *"))
    assert subprocess.run(["crontab", "-n", path], capture_output=True).returncode != 0


def unit(kind: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / "systemd" / f"push-audiences.{kind}").read_text())
    return parser


def test_the_units_say_what_a_run_needs() -> None:
    service, timer = unit("service"), unit("timer")
    assert the_run(service["Service"]["ExecStart"])["audience"] == "layer3-behavior"
    assert service["Service"]["Type"] == "oneshot"
    assert "Restart" not in service["Service"]
    longest = int(service["Service"]["TimeoutStartSec"].removesuffix("min")) * 60
    assert longest > LONGEST_RUN
    assert timer["Timer"]["Persistent"] == "no"
    assert timer["Timer"]["OnCalendar"].endswith("UTC")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_itself_takes_the_units(tmp_path: Path) -> None:
    for path in (DEPLOY / "systemd").iterdir():
        program = r"ExecStart=\S+"
        (tmp_path / path.name).write_text(re.sub(program, "ExecStart=/bin/true", path.read_text()))
    units = sorted(map(str, tmp_path.iterdir()))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    said = [line for line in verified.stderr.splitlines() if "push-audiences" in line]
    assert (verified.returncode, said) == (0, []), verified.stderr
    calendar = unit("timer")["Timer"]["OnCalendar"]
    assert subprocess.run(["systemd-analyze", "calendar", calendar]).returncode == 0


# Kubernetes and the image


def test_the_cron_job_runs_one_at_a_time_never_twice_and_longer_than_any_limit_of_ours() -> None:
    document = yaml.safe_load((DEPLOY / "kubernetes" / "cronjob.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "CronJob")
    assert document["spec"]["concurrencyPolicy"] == "Forbid"
    job = document["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] > LONGEST_RUN
    pod = job["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    folder = container["volumeMounts"][0]["mountPath"]
    assert the_run(shlex.join(container["command"]))["output_dir"] == folder
    variables = {variable["name"]: variable for variable in container["env"]}
    assert variables["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["key"] == "database-url"
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_pinned_and_does_not_run_as_root() -> None:
    found = instructions()
    assert {word for word, _ in found} <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "CMD"}
    values = dict(found)
    assert re.fullmatch(r"python:3\.\d+-slim", values["FROM"])
    job = yaml.safe_load((DEPLOY / "kubernetes" / "cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert values["USER"] == str(pod["securityContext"]["runAsUser"])
    assert values["WORKDIR"] == pod["containers"][0]["workingDir"]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] in values["RUN"]


def test_the_image_holds_the_whole_project_and_its_context_too(tmp_path: Path) -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert sent[0] == "*"
    for words in (rest.split() for word, rest in instructions() if word == "COPY"):
        for name in words[:-1]:
            assert f"!{name}" in sent, f"{name} is not sent to the build"
            target = tmp_path / (name if words[-1] == "./" else words[-1])
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)
    built, ours = load_project(tmp_path), load_project(ROOT)
    assert built.models_hash == ours.models_hash
    assert (built.models.keys(), built.singular_tests.keys()) == (
        ours.models.keys(),
        ours.singular_tests.keys(),
    )


# Airflow


class Recorded:
    """Stands in for a class of Airflow: remembers what it was given."""

    made: list[Recorded]

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.made.append(self)

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def test_the_dag_runs_once_an_hour_and_never_again_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dags: list[Recorded] = []
    tasks: list[Recorded] = []
    for name, known in {
        "airflow.sdk": {"DAG": type("DAG", (Recorded,), {"made": dags})},
        "airflow.providers.standard.operators.bash": {
            "BashOperator": type("BashOperator", (Recorded,), {"made": tasks})
        },
    }.items():
        module = ModuleType(name)
        vars(module).update(known)
        monkeypatch.setitem(sys.modules, name, module)
    runpy.run_path(str(DEPLOY / "airflow" / "push_audiences.py"))
    ((dag,), (task,)) = dags, tasks
    assert (dag.given["schedule"], dag.given["catchup"]) == ("5 * * * *", False)
    assert dag.given["max_active_runs"] == 1
    given = the_run(task.given["bash_command"])
    assert (given["audience"], given["automation_id"]) == ("layer3-behavior", "{{ run_id }}")
    assert task.given["bash_command"].startswith("exec ")
    assert (task.given["retries"], task.given["skip_on_exit_code"]) == (0, [EXIT_LOCKED])
    assert task.given["execution_timeout"] > timedelta(seconds=LONGEST_RUN)
