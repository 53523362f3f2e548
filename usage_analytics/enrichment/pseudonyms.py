"""Keyed pseudonyms: the same identifier always gets the same one, and nobody without the key can tell whose it is."""

import hashlib
import hmac
from functools import lru_cache

import pyarrow as pa


def pseudonym(key: bytes, identifier: str) -> str:
    """32 hexadecimal digits: HMAC-SHA-256 (RFC 2104), cut to 128 bits."""
    return hmac.digest(key, identifier.encode("utf-8", "surrogatepass"), hashlib.sha256)[:16].hex()


def pseudonymise(key: bytes, column: pa.Array) -> pa.Array:
    """A column of identifiers as pseudonyms, computed once per distinct value; nulls stay null."""
    encoded = column.dictionary_encode()
    names = pa.array([_remembered(key, name) for name in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def key_fingerprint(key: bytes) -> str:
    """Tells two keys apart without telling either."""
    return pseudonym(key, "usage_analytics key fingerprint")[:8]


@lru_cache(maxsize=500_000)  # users come back in every batch of a day
def _remembered(key: bytes, identifier: str) -> str:
    return pseudonym(key, identifier)
