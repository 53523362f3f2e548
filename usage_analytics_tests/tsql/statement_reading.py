"""A statement read from left to right by the tokens of Microsoft's parser; what was read can be taken out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from usage_analytics_tests.tsql.script_dom import Fault, Token, tokens

STRINGS = ("AsciiStringLiteral", "UnicodeStringLiteral")
NUMBERS = ("Integer", "Numeric")


class Unsound(Exception):
    """A clause of Synapse that is not as its grammar wants it."""

    def __init__(self, token: Token | None, why: str) -> None:
        super().__init__(why)
        self.fault = Fault(token.line if token else 0, token.column if token else 0, why)


class Reading:
    """A statement read from left to right; what has been read can be taken out of it."""

    def __init__(self, sql: str) -> None:
        self.all = tokens(sql)
        self._at = 0
        self._skip()

    def next(self) -> Token | None:
        return self.all[self._at] if self._at < len(self.all) else None

    def sees(self, *words: str) -> bool:
        """Whether these words come next."""
        coming = [token for token in self.all[self._at :] if token.counts][: len(words)]
        return [token.word for token in coming] == list(words)

    def take(self, *words: str) -> None:
        """Read these words; `Unsound` if others come."""
        for word in words:
            token = self.next()
            if token is None or token.word != word:
                raise Unsound(token, f"{word} was expected, not {token.text if token else 'the end'}")
            self._step()

    def may_take(self, *words: str) -> bool:
        if not self.sees(*words):
            return False
        self.take(*words)
        return True

    def any(self) -> Token:
        token = self.next()
        if token is None:
            raise Unsound(None, "more was expected, not the end")
        self._step()
        return token

    def of(self, kinds: tuple[str, ...], what: str) -> Token:
        token = self.any()
        if token.kind not in kinds:
            raise Unsound(token, f"{what} was expected, not {token.text}")
        return token

    def name(self) -> Token:
        token = self.any()
        if token.kind != "QuotedIdentifier" and not token.text.lstrip("#").replace("_", "a").isalnum():
            raise Unsound(token, f"a name was expected, not {token.text}")
        return token

    def names(self) -> None:
        """A name of up to three parts."""
        self.name()
        for _ in range(2):
            if not self.may_take("."):
                break
            self.name()

    def listed(self, item: Callable[[], object]) -> None:
        """One or more items with commas between them."""
        item()
        while self.may_take(","):
            item()

    def bracketed(self) -> str:
        """The text of a pair of parentheses with all that is in it."""
        first, depth = self._at, 0
        self.take("(")
        depth = 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self.any().text, 0)
        return "".join(token.text for token in self.all[first : self._at])

    def rest(self) -> str:
        text = "".join(token.text for token in self.all[self._at :])
        self._at = len(self.all)
        return text

    def end(self) -> None:
        self.may_take(";")
        if (token := self.next()) is not None:
            raise Unsound(token, f"the end was expected, not {token.text}")

    def position(self) -> int:
        return self._at

    def blank(self, start: int) -> None:
        """Take out of the statement what was read since a position, so that lines keep their numbers."""
        for number in range(start, self._at):
            if self.all[number].counts:
                self.all[number] = replace(self.all[number], kind="WhiteSpace", text=" ")

    def _step(self) -> None:
        self._at += 1
        self._skip()

    def _skip(self) -> None:
        while self._at < len(self.all) and not self.all[self._at].counts:
            self._at += 1

    def rewind(self) -> None:
        self._at = 0
        self._skip()
