"""Harm that a test does to a pool at a chosen statement, and the statements that the pool has received."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from usage_analytics_tests.synapse_pool.errors import Dropped, Refused


@dataclass(frozen=True)
class Statement:
    """What a client sent; COMMIT, ROLLBACK and BEGIN TRANSACTION by these words, however the driver sent them."""

    text: str
    session: int
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Harm:
    """What happens before a statement takes effect, or after that but before its answer."""

    before: Callable[[Statement], object] | None = None
    after: Callable[[Statement], object] | None = None


def _cut(statement: Statement) -> None:
    raise Dropped(statement.text)


DROP_BEFORE = Harm(before=_cut)  # the connection is lost, the statement was never seen
DROP_AFTER = Harm(after=_cut)  # it has taken effect, and nobody was told


def fails(number: int, message: str = "Refused by the test.") -> Harm:
    """The statement is refused with an error of that number, and has no effect."""

    def refuse(statement: Statement) -> None:
        raise Refused(number, message)

    return Harm(before=refuse)


def calls(function: Callable[[Statement], object]) -> Harm:
    """A function is called before the statement takes effect, in the thread of that session."""
    return Harm(before=function)


class Faults:
    """The harm that is planned, each for a number of matching statements."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()

    def plan(self, matches: Callable[[Statement], bool] | str, harm: Harm, times: int) -> None:
        self._planned.append(_Planned(_predicate(matches), harm, times))

    @contextmanager
    def around(self, statement: Statement) -> Iterator[None]:
        """Do the harm that is planned for a statement, around its execution."""
        harms = self._due(statement)
        for harm in harms:
            if harm.before is not None:
                harm.before(statement)
        yield
        for harm in harms:
            if harm.after is not None:
                harm.after(statement)

    def _due(self, statement: Statement) -> list[Harm]:
        found = []
        with self._lock:
            for planned in self._planned:
                if planned.left and planned.matches(statement):
                    planned.left -= 1
                    found.append(planned.harm)
        return found


@dataclass
class _Planned:
    matches: Callable[[Statement], bool]
    harm: Harm
    left: int


def _predicate(matches: Callable[[Statement], bool] | str) -> Callable[[Statement], bool]:
    if callable(matches):
        return matches
    text = matches.upper()
    return lambda statement: statement.text.upper().startswith(text)
