"""Simulations that several tests read: made once."""

from collections.abc import Iterator

import pytest
from simulation.simulated import RATES, SPIKES, WEEKS, Simulated, scenario, simulated


@pytest.fixture(scope="session")
def busy_day() -> Iterator[Simulated]:
    """One day of many users, with news spikes and no other trouble."""
    with simulated(scenario(users=6_000, messages_per_day=480_000, trouble=SPIKES)) as found:
        yield found


@pytest.fixture(scope="session")
def long_story() -> Iterator[Simulated]:
    """Every third day of nine weeks of few users, from the first day of the story, without trouble."""
    with simulated(scenario(*WEEKS, users=1_000, messages_per_day=30_000, story_start=WEEKS[0], lanes=1)) as found:
        yield found


@pytest.fixture(scope="session")
def troubled_day() -> Iterator[Simulated]:
    """One day of everything that goes wrong, more often than by default."""
    with simulated(scenario(users=5_000, messages_per_day=200_000, trouble=RATES)) as found:
        yield found
