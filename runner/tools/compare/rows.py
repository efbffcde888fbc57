"""The rows of two runs in a temporary SQLite database, which pairs them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from runner.errors import AudienceError

CACHE_KIB = 8 * 1024
"""Memory of the temporary database, and of each of the two or three sorts that run at once. Rows
beyond that go into a temporary file."""

ROWS = "create table row (is_test, user, file, side, position, cells)"
"""`file` is the index of the pair of files, `side` is 0 for A and 1 for B, `position` is that of
the row in its file."""

PAIRS = """
create table pair (is_test, user, file, nth, a, b, a_cells, b_cells,
                   primary key (is_test, user, file, nth)) without rowid;

-- A user's n-th row in a file of A and the n-th row in that file of B: `a` and `b` are their
-- positions, null where a run has no such row. Cells are kept where they differ.
insert into pair
select is_test, user, file, nth, a, b,
       iif(a_cells <> b_cells, a_cells, null),
       iif(a_cells <> b_cells, b_cells, null)
from (
    select is_test, user, file, nth,
           max(position) filter (where side = 0) as a,
           max(position) filter (where side = 1) as b,
           max(cells) filter (where side = 0) as a_cells,
           max(cells) filter (where side = 1) as b_cells
    from (
        select *, row_number() over (
            partition by is_test, user, file, side order by position
        ) as nth
        from row
    )
    group by is_test, user, file, nth
);

drop table row;
"""

PEOPLE = """
create table person (is_test, user, a, b, primary key (is_test, user)) without rowid;

-- How many rows a user has in each run.
insert into person select is_test, user, count(a), count(b) from pair group by is_test, user;
"""

DIFFERENCES = """
create table difference (kind, is_test, user, file, other_file, a_cells, b_cells);

insert into difference
select iif(b = 0, 'only in A', 'only in B'), is_test, user, file, null, null, null
from (select distinct is_test, user, file from pair)
join person using (is_test, user)
where a = 0 or b = 0;

insert into difference
select 'changed', is_test, user, file, null, a_cells, b_cells
from pair
where a_cells is not null;

-- Of a user whom both runs have, the n-th row of A without a partner and the n-th of B are one row
-- that has moved from file to file. Any other row is extra.
insert into difference
select case when a_file is null then 'extra row in B'
            when b_file is null then 'extra row in A'
            else 'moved' end,
       is_test, user, coalesce(a_file, b_file), iif(a_file is null, null, b_file), null, null
from (
    select is_test, user,
           max(file) filter (where b is null) as a_file,
           max(file) filter (where a is null) as b_file
    from (
        select pair.*, row_number() over (
            partition by is_test, user, pair.a is null order by file, nth
        ) as unpaired
        from pair
        join person using (is_test, user)
        where (pair.a is null or pair.b is null) and person.a > 0 and person.b > 0
    )
    group by is_test, user, unpaired
);
"""

EXAMPLES = """
select kind, user, file, other_file, a_cells, b_cells
from (
    select rowid as place, *, row_number() over (
        partition by kind, file, other_file order by is_test, user, rowid
    ) as example
    from difference
)
where example <= ?
order by is_test, user, place
"""

CellsOfRow = tuple[str, str]
"""The cells of a row in A and in B, as they were inserted."""


class RowDifference(NamedTuple):
    """A user's difference: its kind, the index of the pair of files, that of the file in B if the
    row has moved, and the cells of both rows if they have changed."""

    kind: str
    user: str
    file: int
    other_file: int | None
    a_cells: str | None
    b_cells: str | None


class PairedRows:
    """The rows of two runs, paired by user. Make it with `paired_rows`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def users(self) -> tuple[int, int, int, int]:
        """Users that only A has, that only B has, with more than one row in A, and in B.

        The test user is not counted as repeated, because every test file has the same one.
        """
        query = """
            select coalesce(sum(b = 0), 0), coalesce(sum(a = 0), 0),
                   coalesce(sum(a > 1 and not is_test), 0),
                   coalesce(sum(b > 1 and not is_test), 0)
            from person
        """
        only_a, only_b, repeated_a, repeated_b = self._database.execute(query).fetchone()
        return only_a, only_b, repeated_a, repeated_b

    def common(self, file: int) -> int:
        """The rows of a file that both runs have."""
        query = "select count(*) from pair where file = ? and a is not null and b is not null"
        return int(self._database.execute(query, (file,)).fetchone()[0])

    def positions(self, file: int) -> Iterator[int]:
        """The positions in B of the rows that both runs have, in the order of A."""
        query = "select b from pair where file = ? and b is not null and a is not null order by a"
        return (position for (position,) in self._database.execute(query, (file,)))

    def differences(self) -> Iterator[tuple[str, int, int | None, int]]:
        """Each kind of difference, with its file or its two files, and how often it occurs."""
        query = "select kind, file, other_file, count(*) from difference group by 1, 2, 3"
        return iter(self._database.execute(query))

    def changed_cells(self, file: int) -> Iterator[CellsOfRow]:
        """The cells of each row that has changed."""
        query = "select a_cells, b_cells from difference where kind = 'changed' and file = ?"
        return iter(self._database.execute(query, (file,)))

    def examples(self, limit: int) -> Iterator[RowDifference]:
        """Up to `limit` differences of each kind and file, by user."""
        return map(RowDifference._make, self._database.execute(EXAMPLES, (limit,)))


@contextmanager
def paired_rows(rows: Iterable[tuple[int, str, int, int, int, str]]) -> Iterator[PairedRows]:
    """Pair `rows`, which have the columns of `ROWS`. SQLite deletes its file at the end.

    Raises `AudienceError` if there is no space for it.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(f"pragma cache_size = -{CACHE_KIB}")
            database.execute("pragma journal_mode = off")
            database.execute(ROWS)
            database.execute("begin")
            database.executemany("insert into row values (?, ?, ?, ?, ?, ?)", rows)
            database.execute("commit")
            for script in (PAIRS, PEOPLE, DIFFERENCES):
                database.executescript(script)
            yield PairedRows(database)
    except sqlite3.Error as problem:
        raise AudienceError(
            f"the rows cannot be compared in a temporary file: {problem}",
            fix="make room in the folder for temporary files, or name another with TMPDIR",
        ) from None
