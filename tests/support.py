"""What tests share: databases, projects to break, runs, and a builder of small marketplaces."""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from runner.files.claim import Claim, claimed
from runner.files.document import RunResult
from runner.files.folder import written_to
from runner.files.history import runs
from runner.project.audience import Audience
from runner.project.targets import FileModes, Target
from runner.runs.phases import run
from runner.runs.settings import Settings

ROOT = Path(__file__).parent.parent
GOLDEN = Path(__file__).parent / "golden"
EDGE_CASES = Path(__file__).parent / "edge_cases"
RECORDED_MANIFESTS = Path(__file__).parent / "recorded" / "manifests"
"""Three runs of earlier versions with their files, and a pointer to the last."""
AS_OF = datetime(2025, 11, 28, 12, tzinfo=UTC)

LOAD_ORDER = (
    "attributes", "attribute_values", "users", "user_activities", "user_preferences",
    "attribute_preferences", "products", "product_variants", "inventory_items", "wishlist_items",
    "offers", "offer_items", "desired_items", "trades",
)  # fmt: skip


def load_schema(**options: Any) -> None:
    """The source tables as production has them."""
    options.pop("autocommit", None)
    with psycopg.connect(**options) as connection:
        connection.execute((ROOT / "runner" / "demo" / "schema.sql").read_text())  # type: ignore[call-overload]


def load_csv_folder(folder: Path, **options: Any) -> None:
    """Each table's CSV file, with a header of its columns."""
    options.pop("autocommit", None)
    with psycopg.connect(**options) as connection:
        for table in LOAD_ORDER:
            text = (folder / f"{table}.csv").read_text()
            columns = text.splitlines()[0]
            copy = f"copy {table} ({columns}) from stdin (format csv, header)"
            with connection.cursor().copy(copy) as stream:
                stream.write(text)


@dataclass(frozen=True)
class Database:
    """A test's own database, its connection in autocommit."""

    connection: psycopg.Connection

    def __post_init__(self) -> None:
        self.connection.autocommit = True

    def target(self, **settings: Any) -> Target:
        info = self.connection.info
        reach = {
            "host": info.host,
            "port": info.port,
            "user": info.user,
            "password": info.password or None,
            "dbname": info.dbname,
        }
        return Target(**{"name": "test", "type": "postgres", **reach, **settings})

    def profile(self, folder: Path, **settings: Any) -> Path:
        """A profiles.yml with this database as its only target; the folder it is in."""
        import yaml

        given = self.target(**settings).model_dump(exclude_none=True, by_alias=True)
        for name in ("password", "url"):
            if name in given:
                given[name] = given[name].get_secret_value()
        del given["name"], given["profile"], given["hidden"]
        folder.mkdir(exist_ok=True, parents=True)
        document = {"p": {"target": "test", "outputs": {"test": given}}}
        (folder / "profiles.yml").write_text(yaml.safe_dump(document))
        return folder

    def execute(self, query: str) -> Any:
        return self.connection.execute(query)  # type: ignore[call-overload]

    def value(self, query: str) -> Any:
        return self.execute(query).fetchone()[0]

    def empty(self) -> None:
        self.execute("truncate " + ", ".join(LOAD_ORDER))


def run_audience(
    database: Database,
    output_dir: Path,
    audience: str,
    *,
    as_of: datetime = AS_OF,
    target: Target | None = None,
    **parameters: object,
) -> RunResult:
    """One run of a shipped audience, on the database itself or reached by another target."""
    given = {name: str(value) for name, value in parameters.items()}
    return run(
        Settings(
            project_dir=ROOT,
            audience=audience,
            target=target or database.target(),
            parameters=given,
            as_of=as_of,
            output_dir=output_dir,
        )
    )


def run_layer3(
    database: Database, output_dir: Path, *, as_of: datetime = AS_OF, **given: Any
) -> RunResult:
    """One run of layer3-behavior; what is given are its parameters, or a target."""
    return run_audience(database, output_dir, "layer3-behavior", as_of=as_of, **given)


def rows_of(
    result: RunResult, audience_type: str, *, is_test: bool = False
) -> list[dict[str, str]]:
    """One published file, parsed."""
    (path,) = (
        file.path
        for file in result.csv_files
        if file.audience_type == audience_type and file.is_test_file == is_test
    )
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def published(folder: Path) -> list[str]:
    """Names of all files, hidden ones included."""
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


def manifests(folder: Path) -> list[dict[str, Any]]:
    """What all manifests in a folder say, oldest first."""
    named = [path for path in folder.glob("*_*.json") if path.name[0] != "."]
    paths = sorted(named, key=lambda path: path.stem.rsplit("_", 1)[1])
    return [json.loads(path.read_text()) for path in paths]


def running(folder: Path) -> RunResult:
    """The document of a folder's newest run as it was when that run began."""
    return runs(folder)[0].document.model_copy(update={"csv_files": ()}).with_status("running")


def only_outcome(folder: Path) -> str:
    """The status of a run whose manifest is all that it left in a folder."""
    (name,) = published(folder)
    return str(json.loads((folder / name).read_text())["status"])


def csv_files(folder: Path) -> list[str]:
    """Names of the CSV files in a folder, or of what a run has left there besides its manifest."""
    names = published(folder)
    return [name for name in names if not name.endswith(".json")]


TINY_AUDIENCE = """
audiences:
  - name: tiny
    description: A small audience.
    parameters: [{parameters}]
    activity_model: people
    outputs:
      - {{audience_type: first, model: first_file, file: first, columns: [user_id, name], order_by: [user_id]}}
      - {{audience_type: second, model: second_file, file: second, columns: [user_id, name], order_by: [user_id]}}
    line_ending: {line_ending}
    test_row:
      test_user: {{user_id: "0"}}
      placeholders: {{name: nobody}}
"""

TINY_MODELS = {
    "people": "select n as user_id, 'name ' || n as name\nfrom generate_series(1, 3) as given (n)",
    "first_file": "select *\nfrom {{ ref('people') }}\nwhere user_id < 3",
    "second_file": "select *\nfrom {{ ref('people') }}\nwhere user_id >= 3",
}


def tiny_project(
    folder: Path, *, parameters: str = "", line_ending: str = "lf", **models: str
) -> Path:
    """A project of three models that needs no tables; `models` replaces or adds some."""
    (folder / "models").mkdir(parents=True)
    text = TINY_AUDIENCE.format(parameters=parameters, line_ending=line_ending)
    (folder / "models" / "tiny.yml").write_text(text)
    for name, body in {**TINY_MODELS, **models}.items():
        (folder / "models" / f"{name}.sql").write_text(body)
    return folder


def shipped_project(folder: Path) -> Path:
    """A copy of the shipped models and macros, to change."""
    for name in ("models", "macros"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def run_project(
    project: Path, database: Database, output_dir: Path, audience: str = "tiny", **settings: Any
) -> RunResult:
    given = {"target": database.target(), "as_of": AS_OF, **settings}
    return run(Settings(project_dir=project, audience=audience, output_dir=output_dir, **given))


# A small marketplace, row by row


@dataclass
class Marketplace:
    """Rows of the source tables, made by what happens in them. Ids ascend as they are made."""

    tables: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {table: [] for table in LOAD_ORDER}
    )
    made: int = 0

    def __post_init__(self) -> None:
        self.size_attribute = self.add("attributes", name="mens_size")
        self.brand_attribute = self.add("attributes", name="brand")
        self.product = self.add("products", name="Product")

    def new_id(self) -> uuid.UUID:
        self.made += 1
        return uuid.UUID(int=self.made << 64)

    def add(self, table: str, **columns: Any) -> uuid.UUID:
        row = {"id": self.new_id(), **columns}
        self.tables[table].append(row)
        return row["id"]

    def user(
        self,
        *,
        username: str | None = "user",
        first_name: str | None = "First",
        deleted_at: int = 0,
        last_active: datetime | None = None,
        sizes: Iterable[str] = (),
        bio: str | None = None,
        created_at: datetime = AS_OF - timedelta(days=400),
    ) -> uuid.UUID:
        name = None if username is None else f"{username}{self.made}"
        user = self.add(
            "users",
            username=name,
            first_name=first_name,
            bio=bio,
            created_at=created_at,
            deleted_at=deleted_at,
        )
        if last_active:
            self.add("user_activities", user_id=user, last_active=last_active)
        preference = self.add("user_preferences", user_id=user)
        for size in sizes:
            self.prefer(preference, size)
        return user

    def prefer(
        self, preference: uuid.UUID, size: str, *, preferred: bool = True, brand: bool = False
    ) -> None:
        attribute = self.brand_attribute if brand else self.size_attribute
        values = [
            row
            for row in self.tables["attribute_values"]
            if row["value"] == size and row["attribute_id"] == attribute
        ]
        value = (
            values[0]["id"]
            if values
            else self.add(
                "attribute_values", value=size, attribute_id=attribute, key=f"{attribute}{size}"
            )
        )
        self.add(
            "attribute_preferences",
            user_preference_id=preference,
            attribute_id=attribute,
            attribute_value_id=value,
            preferred=preferred,
        )

    def variant(self, index_cache: Any = None, product: uuid.UUID | None = None) -> uuid.UUID:
        return self.add(
            "product_variants", product_id=product or self.product, index_cache=index_cache
        )

    def closet(
        self,
        user: uuid.UUID,
        variant: uuid.UUID,
        at: datetime,
        status: str = "OPEN_FOR_TRADE",
        deleted_at: int = 0,
    ) -> uuid.UUID:
        return self.add(
            "inventory_items",
            user_id=user,
            product_variant_id=variant,
            status=status,
            created_at=at,
            deleted_at=deleted_at,
        )

    def wish(
        self, user: uuid.UUID, variant: uuid.UUID, at: datetime, deleted_at: int = 0
    ) -> uuid.UUID:
        return self.add(
            "wishlist_items",
            user_id=user,
            product_variant_id=variant,
            created_at=at,
            deleted_at=deleted_at,
        )

    def desire(
        self,
        user: uuid.UUID,
        variant: uuid.UUID,
        at: datetime,
        offers_count: int,
        deleted_at: int = 0,
    ) -> uuid.UUID:
        return self.add(
            "desired_items",
            user_id=user,
            product_variant_id=variant,
            created_at=at,
            offers_count=offers_count,
            deleted_at=deleted_at,
        )

    def offer(
        self,
        user: uuid.UUID,
        variants: Iterable[uuid.UUID],
        at: datetime,
        *,
        status: str = "OPEN",
        deleted_at: int = 0,
        asks_for: Iterable[uuid.UUID] = (),
        receiver: uuid.UUID | None = None,
    ) -> uuid.UUID:
        """An offer of these shoes; then come those that it asks for."""
        offer = self.add(
            "offers",
            creator_user_id=user,
            created_at=at,
            offer_status=status,
            deleted_at=deleted_at,
            receiver_user_id=receiver,
        )
        items = [("CREATOR", variant) for variant in variants]
        items += [("RECEIVER", variant) for variant in asks_for]
        for owner, variant in items:
            self.add(
                "offer_items", offer_id=offer, product_variant_id=variant, offer_item_owner=owner
            )
        return offer

    def supply(self, variant: uuid.UUID, count: int) -> None:
        """Old closet items of other people: demand that is no activity."""
        owner = self.user()
        for _ in range(count):
            self.closet(owner, variant, AS_OF - timedelta(days=100))

    def want(self, variant: uuid.UUID, count: int) -> None:
        """Old wishlist items of other people."""
        owner = self.user()
        for _ in range(count):
            self.wish(owner, variant, AS_OF - timedelta(days=100))

    def load(self, database: Database) -> None:
        with database.connection.transaction():
            database.empty()
            for table in LOAD_ORDER:
                _copy_in(database.connection, table, self.tables[table])


def _copy_in(connection: psycopg.Connection, table: str, rows: list[Mapping[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor().copy(statement) as stream:
        for row in rows:
            stream.write_row(
                [Jsonb(value) if column == "index_cache" and value is not None else value
                 for column, value in row.items()]
            )  # fmt: skip


def hours_ago(hours: float, as_of: datetime = AS_OF) -> datetime:
    return as_of - timedelta(hours=hours)


@contextmanager
def claimed_in(
    path: Path, audience: Audience, started_at: datetime, modes: FileModes | None = None
) -> Iterator[Claim]:
    """A claim in a folder, as a run has it but for the lock."""
    settled = modes or FileModes()
    with (
        written_to(path, file_mode=settled.file, folder_mode=settled.folder) as folder,
        claimed(folder, audience, started_at) as claim,
    ):
        yield claim
