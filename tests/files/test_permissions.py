"""Who may read what runs write, and that no name and no link leads elsewhere."""

from __future__ import annotations

import csv
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ExportError, ProfileError, ProjectError
from runner.files.folder import written_to
from runner.project.load import load_project
from runner.project.targets import FileModes, load_target
from runner.sql.compile import compile_audience
from runner.sql.plan import Plan
from runner.sql.psql_script import psql_script
from tests.sql.test_compile import OFFLINE, psql
from tests.support import AS_OF, Database, published, run_project, tiny_project


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tiny_project(tmp_path / "p")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o177])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Modes


def test_files_and_folders_are_their_owners_alone_whatever_the_umask(
    database: Database, project: Path, tmp_path: Path, umask: int
) -> None:
    out = tmp_path / "a" / "b"
    run_project(project, database, out)
    assert {mode(path) for path in out.iterdir()} == {0o600}
    assert len(published(out)) == 6
    assert (mode(out), mode(out.parent)) == (0o700, 0o700)


def test_the_target_says_who_else_may_read(
    database: Database, project: Path, out: Path, umask: int
) -> None:
    target = database.target(files={"mode": "0640", "folder_mode": "0750"})
    run_project(project, database, out, target=target)
    assert {mode(path) for path in out.iterdir()} == {0o640}
    assert mode(out) == 0o750


def test_the_mode_of_a_folder_that_is_there_is_left_alone(
    database: Database, project: Path, out: Path
) -> None:
    out.mkdir()
    out.chmod(0o1777)
    run_project(project, database, out)
    assert mode(out) == 0o1777


def test_staged_files_are_private_while_a_run_goes_on(
    database: Database, project: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    link = os.link

    def looked(*arguments: object, **options: object) -> None:
        link(*arguments, **options)  # type: ignore[arg-type]
        (staging,) = out.glob(".tiny_*")
        seen.update({mode(staging), *map(mode, staging.iterdir())})

    monkeypatch.setattr(os, "link", looked)
    run_project(project, database, out)
    assert seen == {0o700, 0o600}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("{mode: 0640}", "416 is not a file mode; write octal digits in quotes"),
        ("{mode: '0888'}", "'0888' is not a file mode"),
        ("{mode: '4755'}", "'4755' is not a file mode"),
        ("{mode: '0400'}", "the owner must be able to read and write"),
        ("{folder_mode: '0600'}", "the owner must be able to read and write"),
        ("{mode: '0646'}", "writable for everybody"),
        ("{mode: '0755'}", "must not be executable"),
        ("{folder_mode: '0777'}", "writable for everybody"),
        ("{mod: '0640'}", "unknown key 'mod'; did you mean mode"),
        ("0640", "files"),
    ],
)
def test_a_mode_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, files: str, message: str
) -> None:
    text = (
        f"p:\n  target: t\n  outputs:\n    t: {{type: postgres, host: h,\n      files: {files}}}\n"
    )
    (tmp_path / "profiles.yml").write_text(text)
    with pytest.raises(ProfileError, match=r"profiles\.yml:5: ") as caught:
        load_target(tmp_path, None)
    assert message in str(caught.value)


# Links and names


def test_an_output_folder_that_is_a_link_is_refused(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for target in (elsewhere, tmp_path / "nowhere"):
        out.unlink(missing_ok=True)
        out.symlink_to(target)
        result = run_project(project, database, out)
        assert result.status == "failed"
        assert result.error == (
            f"{out}: is a symbolic link, and files are written through none; "
            f"name the folder itself: {target}"
        )
    assert published(elsewhere) == []


def test_a_pointer_that_is_a_link_is_refused_before_anything_is_read(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    out.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (out / "tiny.latest.json").symlink_to(victim)
    result = run_project(project, database, out)
    assert result.status == "failed"
    assert "tiny.latest.json: is a link or a folder where a file should be" in (result.error or "")
    assert result.metadata.steps == ()
    assert victim.read_text() == "precious"
    assert published(out) == ["tiny.latest.json"]


def test_a_staging_folder_that_is_a_link_is_neither_used_nor_emptied(
    database: Database, project: Path, tmp_path: Path, out: Path
) -> None:
    out.mkdir()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "lock").touch()
    (victim / "precious").touch()
    (out / ".tiny_20200101T000000.staging").symlink_to(victim)
    assert run_project(project, database, out).status == "success"
    assert published(victim) == ["lock", "precious"]


def test_names_that_are_links_are_taken_not_followed(
    database: Database, project: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = os.link
    laid = []

    def raced(name: str, *arguments: object, **options: object) -> None:
        if name.startswith("second_2"):
            (out / name).symlink_to(victim)
            laid.append(name)
        link(name, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", raced)
    result = run_project(project, database, out)
    assert result.status == "partial"
    assert "nothing is ever overwritten" in result.metadata.errors[0].message
    assert victim.read_text() == "precious"
    assert (out / laid[0]).is_symlink()


def test_a_folder_swapped_for_a_link_while_a_run_goes_on_gets_nothing(
    database: Database, project: Path, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mkdir = os.mkdir

    def swapped(name: str, *arguments: object, **options: object) -> None:
        mkdir(name, *arguments, **options)  # type: ignore[arg-type]
        if str(name).startswith(".tiny_"):
            out.rename(tmp_path / "moved")
            out.symlink_to(elsewhere)

    monkeypatch.setattr(os, "mkdir", swapped)
    assert run_project(project, database, out).status == "success"
    assert published(elsewhere) == []
    assert len(published(tmp_path / "moved")) == 6


@pytest.mark.parametrize(
    "name", ["../x.csv", "/x.csv", "a/b.csv", "..", ".", "", "x\n.csv", "x\0.csv", "-x.csv", "x y"]
)
def test_no_name_leaves_its_folder(tmp_path: Path, name: str) -> None:
    with (
        written_to(tmp_path / "out", file_mode=0o600, folder_mode=0o700) as folder,
        pytest.raises(ExportError, match="no plain file name"),
        folder.writing(name) as file,
    ):
        file.write(b"x")
    assert published(tmp_path) == ["out"]


@pytest.mark.parametrize("file", ["../first", "/tmp/first", "a/b", "", ".first"])
def test_no_file_prefix_leaves_its_folder(project: Path, file: str) -> None:
    path = project / "models" / "tiny.yml"
    path.write_text(path.read_text().replace("file: first", f"file: '{file}'"))
    with pytest.raises(ProjectError, match="file"):
        load_project(project)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.parametrize("folder", ["/dev/full", "/dev/full/x", "/proc/1/nowhere"])
def test_what_is_no_folder_is_an_error(
    database: Database, project: Path, tmp_path: Path, folder: str
) -> None:
    profile = database.profile(tmp_path / "profile")
    done = subprocess.run(
        [sys.executable, "-c", "from runner.cli.app import main; main()", "run", "tiny", "--project-dir", project,
         "--profiles-dir", profile, "--output-dir", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{folder}: cannot be written: " in done.stderr
    assert "Traceback" not in done.stderr


# Formulas

FORMULAS = """select
    n as user_id,
    (array['=1+1', '+1', '-1', '@x', E'\\ttab', E'\\rreturn', 'a=1', '''=1', '', null, ' =1'])[n] as name
from generate_series(1, 11) as given (n)"""


def escaping(project: Path, columns: str) -> Path:
    path = project / "models" / "tiny.yml"
    old = "file: first, columns: [user_id, name],"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, f"{old} escape_formulas: [{columns}],"))
    return project


def names_in(folder: Path, stem: str) -> list[str]:
    (path,) = folder.glob(f"{stem}_2*.csv")
    with open(path, newline="", encoding="utf-8") as file:
        return [row["name"] for row in csv.DictReader(file)]


def formula_project(folder: Path) -> Path:
    whole = "select * from {{ ref('people') }}"
    others = "select user_id + 100 as user_id, name from {{ ref('people') }}"
    return tiny_project(folder, people=FORMULAS, first_file=whole, second_file=others)


def test_formulas_are_escaped_in_the_named_columns_of_the_named_output_only(
    database: Database, tmp_path: Path, out: Path
) -> None:
    result = run_project(escaping(formula_project(tmp_path / "p"), "name"), database, out)
    assert result.status == "success", result.error
    raw = ["=1+1", "+1", "-1", "@x", "\ttab", "\rreturn", "a=1", "'=1", "", "", " =1"]
    assert names_in(out, "second") == raw
    assert names_in(out, "first") == [f"'{one}" for one in raw[:6]] + raw[6:]
    assert names_in(out, "first_TEST") == ["'=1+1"]
    assert names_in(out, "second_TEST") == ["=1+1"]


def test_psql_escapes_the_same(database: Database, tmp_path: Path, out: Path) -> None:
    project = escaping(formula_project(tmp_path / "p"), "user_id, name")
    result = run_project(project, database, out)
    compiled = compile_audience(load_project(project), "tiny", {}, AS_OF)
    script = psql_script(Plan(compiled, result.metadata.started_at), OFFLINE)
    done = psql(database, script, tmp_path / "psql")
    assert (done.returncode, done.stderr) == (0, "")
    paths = list((tmp_path / "psql").iterdir())
    assert len(paths) == 4
    for path in paths:
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_column_that_is_not_in_the_file_cannot_be_escaped(project: Path) -> None:
    with pytest.raises(
        ProjectError,
        match=r"escape_formulas names 'nam', which is not one of the columns; did you mean name\?",
    ):
        load_project(escaping(project, "nam"))


def test_modes_are_read_as_octal() -> None:
    modes = FileModes(mode="640", folder_mode="0750")
    assert (modes.file, modes.folder) == (0o640, 0o750)
