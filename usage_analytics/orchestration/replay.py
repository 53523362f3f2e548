"""Judges dead letters again: all messages of their windows, from the raw chunks, under the contract of now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from usage_analytics import parts
from usage_analytics.enrichment.dead_letters import WindowLetters, letters_by_window
from usage_analytics.orchestration.instance import open_instance
from usage_analytics.orchestration.run_now import enrich_again
from usage_analytics.settings import Settings


@dataclass(frozen=True)
class Replayed:
    """How many dead letters a window had, and has now."""

    window: str
    before: int
    after: int


def outdated_windows(settings: Settings, windows: Sequence[str]) -> list[WindowLetters]:
    """Those of the given windows (or of all) whose dead letters were judged under another contract than that of now."""
    fingerprint = parts.enriched_reader(settings).fingerprint
    found = letters_by_window(parts.layout(settings), parts.offset_log(settings), windows)
    return [each for each in found if each.is_outdated(fingerprint)]


def replay(settings: Settings, before: Sequence[WindowLetters], advance: Callable[[int], None]) -> list[Replayed]:
    """Enrich and load windows again, each as a run that Dagster records; ``advance`` is told of each that is done."""
    with open_instance(settings.home) as instance:
        for each in before:
            enrich_again(each.window, instance)
            advance(1)
    found = letters_by_window(parts.layout(settings), parts.offset_log(settings), [each.window for each in before])
    after = {each.window: each.dead_letters for each in found}
    return [Replayed(each.window, each.dead_letters, after.get(each.window, 0)) for each in before]
