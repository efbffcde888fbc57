"""One grammar of file names: what is made is read back, and what is foreign is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.files.names import (
    RunName,
    audience_of_pointer,
    csv_named,
    pointer_name,
    timestamp_given,
    timestamp_of_csv,
)
from runner.project.audience import Output

AUDIENCES = st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,62}\Z")
FILES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9-]{0,99}\Z")
ARABIC = "20251128T120000".translate({ord("0") + n: 0x660 + n for n in range(10)})
TIMESTAMPS = st.datetimes().map(lambda moment: f"{moment:%Y%m%dT%H%M%S}".rjust(15, "0"))


@given(AUDIENCES, TIMESTAMPS)
def test_names_of_a_run_are_read_back(audience: str, timestamp: str) -> None:
    run = RunName(audience, timestamp)
    assert RunName.from_manifest(run.manifest) == run
    assert RunName.from_staging(run.staging) == run
    assert audience_of_pointer(pointer_name(audience)) == audience
    assert RunName.from_manifest(pointer_name(audience)) is None
    assert audience_of_pointer(run.manifest) is None


@given(FILES, TIMESTAMPS, st.booleans())
def test_names_that_outputs_give_their_files_are_read_back(
    file: str, timestamp: str, is_test: bool
) -> None:
    output = Output(audience_type="x", model="x", file=file, columns=["a"], order_by=["a"])
    name = output.file_name(timestamp, is_test=is_test)
    assert timestamp_of_csv(name) == timestamp
    assert RunName("any", timestamp).has_file(name)
    found = csv_named(Path(name))
    assert found is not None
    assert (found.label, found.is_test, found.timestamp) == (
        output.labels[is_test],
        is_test,
        timestamp,
    )


def test_names_of_the_old_engine_are_read_as_the_same_runs() -> None:
    old, new = (csv_named(Path(f"a_TEST_20251128{sign}120000.csv")) for sign in "_T")
    assert old is not None
    assert new is not None
    assert (old.label, old.is_test, old.timestamp) == (new.label, new.is_test, new.timestamp)
    assert timestamp_given("20251128_120000") == timestamp_given("20251128T120000")
    assert timestamp_of_csv("a_20251128_120000.csv") is None


@pytest.mark.parametrize(
    "name",
    [
        f"tiny_{ARABIC}.json",
        "tiny_\N{FULLWIDTH DIGIT TWO}0251128T120000.json",
        "tiny_20251128T120000.json\n",
        "Tiny_20251128T120000.json",
        "tiny_20251128_120000.json",
        "../tiny_20251128T120000.json",
        "tiny__20251128T120000.json",
        "tiny.json",
    ],
)
def test_what_is_named_otherwise_is_foreign(name: str) -> None:
    assert RunName.from_manifest(name) is None
    assert RunName.from_staging(f".{name.removesuffix('.json')}.staging\n") is None
    assert timestamp_of_csv(name.replace("json", "csv") + "\0") is None


def test_digits_of_other_scripts_are_no_time() -> None:
    assert timestamp_given(ARABIC) is None
    assert timestamp_of_csv(f"a_{ARABIC}.csv") is None
    found = csv_named(Path(f"a_{ARABIC}.csv"))
    assert found is not None
    assert (found.label, found.timestamp) == (f"a_{ARABIC}", None)
