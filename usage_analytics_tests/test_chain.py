"""The whole chain under random sequences of events: invariants 1, 2, 3 and 6 of the design never break."""

import pytest
from chain_machine import ChainMachine
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test


def test_invariants_hold_whatever_happens() -> None:
    run_state_machine_as_test(ChainMachine, settings=settings(max_examples=4, stateful_step_count=12))


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_invariants_hold_whatever_happens_at_length(part: int) -> None:
    """In parts, so that they run side by side."""
    run_state_machine_as_test(ChainMachine, settings=settings(max_examples=5, stateful_step_count=30))
