"""Counter-based random numbers: each draw is a pure function of the seed, what it is for, and whose it is.

So a simulated message is the same whatever the batch, the process or the order in which it is made (Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011). The mixing function is that of SplitMix64 (Steele, Lea and
Flood, OOPSLA 2014).
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
Reals = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.signedinteger[Any]]
Flags = npt.NDArray[np.bool_]
Counter = npt.NDArray[np.generic] | int
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
UNIT = 2.0**-53


@lru_cache(maxsize=4096)
def stream(seed: int, purpose: str) -> np.uint64:
    """The start of all draws for one purpose under one seed."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def bits(source: np.uint64 | Bits, *counters: Counter) -> Bits:
    """64 random bits for each combination of counters (arrays of one length, or integers).

    Bits drawn by some counters are the source of those drawn by further ones.
    """
    state = np.asarray(source, np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
        for counter in counters:
            step = np.asarray(counter).astype(np.uint64)
            step += np.uint64(1)
            step *= GOLDEN
            state = _mixed(state + step)
    return state


def uniform(source: np.uint64 | Bits, *counters: Counter) -> Reals:
    """Uniform on [0, 1)."""
    return unit(bits(source, *counters))


def unit(random: Bits) -> Reals:
    """Random bits as a number on [0, 1)."""
    return np.asarray((random >> np.uint64(11)) * UNIT, np.float64)


def normal(source: np.uint64, *counters: Counter) -> Reals:
    """Standard normal, by Box and Muller (1958)."""
    random = bits(source, *counters)
    radius = ((random >> np.uint64(32)) + 1.0) * 2.0**-32
    angle = (random & np.uint64(0xFFFFFFFF)) * (2.0 * np.pi * 2.0**-32)
    return np.asarray(np.sqrt(-2.0 * np.log(radius)) * np.cos(angle), np.float64)


def exponential(source: np.uint64, *counters: Counter) -> Reals:
    """Exponential with mean 1."""
    return np.asarray(-np.log1p(-uniform(source, *counters)), np.float64)


def poisson(mean: Reals, chance: Reals) -> Ints:
    """Poisson counts of small means, by inversion of uniform chances."""
    counts = np.zeros(chance.shape, np.int64)
    term = np.exp(-mean) * np.ones_like(chance)
    above = term.copy()
    most = int(np.max(mean, initial=0.0) * 2 + 40)  # beyond it no double precision chance reaches
    for count in range(1, most):
        more = chance >= above
        if not more.any():
            break
        counts[more] = count
        term *= mean / count
        above += term
    return counts


def choice(cumulative: Reals, chance: Reals) -> Ints:
    """Positions in a cumulative distribution that ends at 1."""
    return np.searchsorted(cumulative[:-1], chance, side="right")


def _mixed(state: Bits) -> Bits:
    # In place, for speed: no array for each step.
    mixed = state >> np.uint64(30)
    mixed ^= state
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
