"""How far a store's schema has come, and what it still lacks: the same for every column store.

Each migration is a SQL file in the store's folder, by number; its statements end with a semicolon at a line's end.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources

from usage_analytics.errors import UserError


@dataclass(frozen=True)
class SchemaState:
    """What a store says of its schema: the last migration, and a fingerprint of its views' queries."""

    migration: int
    views: str

    def is_as(self, wanted: "SchemaState", place: str) -> bool:
        """Whether it is as wanted; `UserError` that names the place if a newer version of the platform has changed it.

        By then it may hold what this version does not know of.
        """
        if self.migration > wanted.migration:
            numbers = f"its migration {self.migration}, ours {wanted.migration}"
            raise UserError(f"{place} is of a newer version of the platform ({numbers}): upgrade")
        return self == wanted


NOTHING = SchemaState(0, "")  # of a schema that is not there, or of a time before there were migrations


@dataclass(frozen=True)
class Migrations:
    """The migrations of one store, by number."""

    texts: dict[int, str]

    def wanted(self, view_queries: Iterable[str]) -> SchemaState:
        """The state of a schema to which all migrations were done, with views of these queries."""
        return SchemaState(max(self.texts), hashlib.sha256("".join(view_queries).encode()).hexdigest()[:16])

    def statements_after(self, done: int) -> Iterator[str]:
        """What a schema lacks to which some were done, in order."""
        for number in sorted(number for number in self.texts if number > done):
            yield from (statement for statement in self.texts[number].split(";\n") if statement.strip())


def migrations_of(package: str) -> Migrations:
    """The files in the folder `migrations` of a store's package."""
    files = (resources.files(package) / "migrations").iterdir()
    return Migrations({int(f.name[:4]): f.read_text(encoding="utf-8") for f in files if f.name.endswith(".sql")})
