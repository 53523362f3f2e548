"""A statement of T-SQL cut into words, and read from left to right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from usage_analytics_tests.synapse_pool.errors import Refused

PIECE = re.compile(
    r"(?P<blank>\s+|--[^\n]*|/\*.*?\*/)|(?P<string>N?'(?:[^']|'')*')|(?P<quoted>\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\")"
    r"|(?P<word>[#@$\w]+)|(?P<mark>::|.)",
    re.S | re.I,
)


@dataclass(frozen=True)
class Word:
    """A piece of a statement, and where it stands in the text."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind in ("word", "mark") else self.text

    @property
    def name(self) -> str:
        """What an identifier names, without its brackets."""
        if self.kind == "quoted":
            return self.text[1:-1].replace("]]", "]").replace('""', '"')
        return self.text

    @property
    def value(self) -> str:
        """What a text in quotes says."""
        return self.text[self.text.index("'") + 1 : -1].replace("''", "'")


def words_of(sql: str) -> list[Word]:
    found = (Word(str(piece.lastgroup), piece[0], piece.start(), piece.end()) for piece in PIECE.finditer(sql))
    return [word for word in found if word.kind != "blank"]


@dataclass(frozen=True)
class Name:
    """A table, view or other object: its schema, empty for a temporary table, and its own name."""

    schema: str
    name: str

    @property
    def key(self) -> tuple[str, str]:
        return self.schema.lower(), self.name.lower()

    @property
    def sql(self) -> str:
        """As DuckDB writes it."""
        own = quoted(self.name)
        return f"temp.{own}" if self.is_temporary else f"{quoted(self.schema)}.{own}"

    @property
    def is_temporary(self) -> bool:
        return self.name.startswith("#")

    def __str__(self) -> str:
        return self.name if self.is_temporary else f"{self.schema}.{self.name}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def name_in(text: str) -> Name:
    """The object that a text such as `N's.t'` names."""
    return Reader(text).object_name()


class Reader:
    """Reads a statement word by word; `Refused` (103010) where another word was expected."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.words = words_of(sql)
        self.at = 0

    def sees(self, *texts: str) -> bool:
        return [word.upper for word in self.words[self.at : self.at + len(texts)]] == list(texts)

    def may_take(self, *texts: str) -> bool:
        if not self.sees(*texts):
            return False
        self.at += len(texts)
        return True

    def take(self, *texts: str) -> None:
        for text in texts:
            if not self.may_take(text):
                raise self.unexpected()

    def next(self) -> Word:
        if self.at == len(self.words):
            raise self.unexpected()
        self.at += 1
        return self.words[self.at - 1]

    def name(self) -> str:
        if self.at < len(self.words) and self.words[self.at].kind in ("word", "quoted"):
            return self.next().name
        raise self.unexpected()

    def string(self) -> str:
        if self.at < len(self.words) and self.words[self.at].kind == "string":
            return self.next().value
        raise self.unexpected()

    def object_name(self) -> Name:
        """A name of one or two parts; dbo is the schema that everyone has."""
        first = self.name()
        if self.may_take("."):
            return Name(first, self.name())
        return Name("" if first.startswith("#") else "dbo", first)

    def bracketed(self) -> str:
        """The text within a pair of parentheses."""
        self.take("(")
        start, depth = self.words[self.at - 1].end, 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self.next().text, 0)
        return self.sql[start : self.words[self.at - 1].start]

    def rest(self) -> str:
        """All that is left, without a last semicolon."""
        if self.at == len(self.words):
            return ""
        start, self.at = self.words[self.at].start, len(self.words)
        return self.sql[start:].rstrip().rstrip(";")

    def is_at_end(self) -> bool:
        return self.at == len(self.words)

    def end(self) -> None:
        self.may_take(";")
        if not self.is_at_end():
            raise self.unexpected()

    def unexpected(self) -> Refused:
        if self.at >= len(self.words):
            return Refused(103010, "Parse error: the statement ends too early.")
        word = self.words[self.at]
        line = self.sql.count("\n", 0, word.start) + 1
        column = word.start - self.sql.rfind("\n", 0, word.start)
        return Refused(103010, f"Parse error at line: {line}, column: {column}: Incorrect syntax near '{word.text}'.")


def parts(text: str) -> Iterator[str]:
    """What stands between the commas of a list, but not within its parentheses."""
    start = depth = 0
    for word in words_of(text):
        depth += {"(": 1, ")": -1}.get(word.text, 0) if word.kind == "mark" else 0
        if word.text == "," and not depth:
            yield text[start : word.start].strip()
            start = word.end
    yield text[start:].strip()


def statements_of(sql: str) -> list[str]:
    """The statements of a batch, which semicolons part."""
    found, start = [], 0
    for word in words_of(sql):
        if word.text == ";":
            is_merge = sql[start:].lstrip()[:5].upper() == "MERGE"  # the only one that has to end so
            found.append(sql[start : word.end if is_merge else word.start])
            start = word.end
    return [statement.strip() for statement in (*found, sql[start:]) if words_of(statement)]
