"""The demo target: an embedded server that starts, is shared, and stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from runner.demo import demo
from runner.demo.server import EmbeddedServer, EmbeddedServerError
from tests.support import ROOT

RUN = [
    sys.executable,
    "-c",
    "from runner.cli.app import main; main()",
    "run",
    "layer3-behavior",
    "--json",
]


@pytest.fixture(scope="module")
def demo_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A demo folder of our own, which root's server account can reach."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="audiences-demo-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def is_running(folder: Path) -> bool:
    return (folder / "server" / "data" / "postmaster.pid").exists()


def start(demo_dir: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*RUN, "--output-dir", str(out), *more],
        env={**os.environ, "AUDIENCES_DEMO_DIR": str(demo_dir), "AUDIENCES_TARGET": "demo"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_first_commands_at_once_both_make_six_files(demo_dir: Path, tmp_path: Path) -> None:
    runs = [start(demo_dir, tmp_path / str(number), "--wait", "90s") for number in (1, 2)]
    for number, running in enumerate(runs, 1):
        stdout, stderr = running.communicate(timeout=120)
        assert running.returncode == 0, stderr
        document = json.loads(stdout)
        assert document["audienceSize"] > 1000
        assert len(list((tmp_path / str(number)).glob("*.csv"))) == 6
        assert all(file["rowCount"] for file in document["csvFiles"])
    assert not is_running(demo_dir)


def test_every_file_of_the_new_users_has_rows(demo_dir: Path, tmp_path: Path) -> None:
    words = ["layer5-new-users" if word == "layer3-behavior" else word for word in RUN]
    done = subprocess.run(
        [*words, "--dry-run"],
        env={**os.environ, "AUDIENCES_DEMO_DIR": str(demo_dir), "AUDIENCES_TARGET": "demo"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = json.loads(done.stdout)["metadata"]["rowsByType"]
    assert set(rows) == {"no_shoes", "no_bio", "no_offers", "no_wishlist", "new_stars"}
    assert min(rows.values()) > 20


def test_a_killed_command_does_not_keep_the_server_from_stopping(
    demo_dir: Path, tmp_path: Path
) -> None:
    program = "from runner.cli import app\nfrom runner.demo import demo\nwith demo.running(): print('up', flush=True); input()"
    killed = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "AUDIENCES_DEMO_DIR": str(demo_dir)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert killed.stdout is not None
    assert killed.stdout.readline() == "up\n"
    killed.kill()
    killed.communicate()
    assert is_running(demo_dir)
    after = start(demo_dir, tmp_path / "out", "--dry-run")
    after.communicate(timeout=120)
    assert after.returncode == 0
    assert not is_running(demo_dir)


def test_the_demo_has_names_that_need_quoting(
    demo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIENCES_DEMO_DIR", str(demo_dir))
    with demo.running() as url, psycopg.connect(url) as connection:
        for pattern in ("%,%", '%"%', "%\n%", "%é%"):
            names = "select count(*) from users where first_name like %s or username like %s"
            assert connection.execute(names, (pattern, pattern)).fetchone() > (0,)
        assert connection.execute("select count(*) from users").fetchone() == (5328,)


def test_stale_demo_data_is_made_anew(demo_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIENCES_DEMO_DIR", str(demo_dir))
    newest = "select max(created_at) from wishlist_items"
    with demo.running() as url, psycopg.connect(url) as connection:
        first = connection.execute(newest).fetchone()
        connection.execute("comment on database marketplace is '2020-01-01T00:00:00+00:00'")
    with demo.running() as url, psycopg.connect(url) as connection:
        assert connection.execute(newest).fetchone() > first  # type: ignore[operator]


def test_reset_is_refused_while_others_use_the_demo(
    demo_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUDIENCES_DEMO_DIR", str(demo_dir))
    with (
        demo.running(),
        pytest.raises(EmbeddedServerError, match="other commands are using"),
        demo.running(reset=True),
    ):
        pass
    with demo.running(reset=True):
        assert is_running(demo_dir)


def test_a_folder_of_somebody_else_is_refused() -> None:
    with pytest.raises(EmbeddedServerError, match=r"folder cannot be made|belongs to"):
        EmbeddedServer(Path("/proc/nowhere")).start()


def test_a_long_folder_name_gets_a_short_socket() -> None:
    server = EmbeddedServer(Path("/tmp") / ("long" * 40))
    assert len(bytes(server.socket_folder)) < 90
    assert server.socket_folder != server.folder


def test_the_demo_command_serves_until_it_is_interrupted(demo_dir: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", "from runner.cli.app import main; main()", "demo"],
        env={**os.environ, "AUDIENCES_DEMO_DIR": str(demo_dir)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    url = running.stdout.readline().split("'")[1]
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) > 0 from offers").fetchone() == (True,)
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=30)
    assert (running.returncode, stderr) == (0, "stopped\n")
    assert not is_running(demo_dir)
