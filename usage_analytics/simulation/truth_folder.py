"""The folder of a world's truth: whose it is, and where each of its days was sent.

<folder>/day=<day>/sent.json   a list: to which topic or folder, when that began, and when it ended; null: cut off

A day was sent whole, and its labels and counts are whole, where the last entry has an end.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from usage_analytics.errors import UserError
from usage_analytics.lake.files import IN_PROGRESS, publish, temporary_beside
from usage_analytics.locks import taken
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.writing import writing

WORLD = "world.json"
VERSION = 2  # raise it whenever the same scenario would give other messages


def described(scenario: Scenario) -> dict[str, Any]:
    """What `world.json` says of a scenario, and of the rules by which messages are made from it."""
    return {**asdict(scenario), "version": VERSION}


def world_folder(home: Path, scenario: Scenario) -> Path:
    """Where the truth of a world stands unless told otherwise: each world, whatever its days, has its own folder."""
    identity = json.dumps(_identity(described(scenario), scenario.start), sort_keys=True)
    fingerprint = blake2b(identity.encode(), digest_size=4).hexdigest()
    return home / "simulation" / f"seed-{scenario.seed}-{fingerprint}"


def day_folder(folder: Path, day: date) -> Path:
    """Where the truth of a day stands."""
    return folder / f"day={day.isoformat()}"


def refuse_another_world(folder: Path, scenario: Scenario) -> None:
    """`UserError` that says what differs, if the folder holds the truth of another world; other days are none."""
    path = folder / WORLD
    if not path.exists():
        return
    try:
        world = json.loads(path.read_bytes())
        there = _identity(world["scenario"], world["story_start"])
    except (ValueError, KeyError, TypeError, AttributeError):
        told = "is damaged, or no world of a simulation"
        raise UserError(f"simulation: {path} {told}; remove it, or choose another --truth") from None
    here = _identity(described(scenario), scenario.start)
    other = [f"{name} {there.get(name)}, now {here[name]}" for name in here if here[name] != there.get(name)]
    if other:
        told = f"{folder} holds the truth of another world ({'; '.join(other)})"
        raise UserError(f"simulation: {told}; choose another --truth")


@contextmanager
def owned(folder: Path, scenario: Scenario) -> Iterator[None]:
    """The folder is this simulation's alone meanwhile; what a simulation that was killed left half-written is gone."""
    refuse_another_world(folder, scenario)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        if not taken(lock):
            told = f"another simulation writes its truth into {folder} now"
            raise UserError(f"simulation: {told}; wait for it, or choose another --truth")
        for place in (folder, *folder.glob("day=*")):
            for left in place.glob(f".*{IN_PROGRESS}"):
                left.unlink()
        yield


def sent_to(folder: Path, day: date) -> list[dict[str, Any]]:
    """Where a day was sent: ``to``, ``began``, ``ended`` (None: cut off), in order."""
    path = day_folder(folder, day) / "sent.json"
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_bytes())
        return [{name: entry[name] for name in ("to", "began", "ended")} for entry in found]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"simulation: {path} is damaged; remove it, or choose another --truth") from None


def refuse_sent(folder: Path, days: Sequence[date], place: str) -> None:
    """`UserError` if one of the days was sent there already, be it in part: its messages would be there twice."""
    for day in days:
        there = [entry for entry in sent_to(folder, day) if entry["to"] == place]
        if there:
            how = "" if there[-1]["ended"] else " in part, by a simulation that was cut off"
            told = f"{day} of this world was sent to {place} already{how} (see {folder})"
            raise UserError(f"simulation: {told}; --again sends all of it once more, another --seed is another world")


def note_beginning(folder: Path, days: Sequence[date], place: str) -> None:
    """The days are about to be sent."""
    began = datetime.now(UTC).isoformat(timespec="seconds")
    for day in days:
        _note(folder, day, [*sent_to(folder, day), {"to": place, "began": began, "ended": None}])


def note_end(folder: Path, days: Sequence[date]) -> None:
    """All of the days that were about to be sent has arrived, and their truth is whole."""
    ended = datetime.now(UTC).isoformat(timespec="seconds")
    for day in days:
        *before, last = sent_to(folder, day)
        _note(folder, day, [*before, {**last, "ended": ended}])


def _note(folder: Path, day: date, entries: list[dict[str, Any]]) -> None:
    path = day_folder(folder, day) / "sent.json"
    with writing(path):
        temporary = temporary_beside(path)
        temporary.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        publish(temporary, path)


def _identity(scenario: dict[str, Any], story_start: date | str) -> dict[str, Any]:
    """What makes a world: all of a scenario but its days, as JSON has it."""
    flat = {
        "version": 1,
        **scenario,
        **scenario["trouble"],
        "story_start": str(story_start),
        "exchanges": [*scenario["exchanges"]],
    }
    return {name: value for name, value in flat.items() if name not in ("days", "trouble")}
