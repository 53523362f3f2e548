"""Tells whether two enrichments of one chunk give the same rows, without making either."""

import hashlib

import duckdb

from usage_analytics.contract import Mapping
from usage_analytics.enrichment.pseudonyms import key_fingerprint
from usage_analytics.lake.sealed_parquet import ZSTD
from usage_analytics.trading_calendar import TradingCalendar

VERSION = 5  # raise it whenever the same chunk and mapping would give other rows


def enrichment_fingerprint(mapping: Mapping, calendar: TradingCalendar, key: bytes, compression: str = ZSTD) -> str:
    """Changes with all that the files of usage events depend on besides their chunk; 16 hexadecimal digits."""
    # DuckDB decides what is JSON, a number and an instant, and another version may decide otherwise.
    inputs = f"{VERSION} {mapping.fingerprint} {key_fingerprint(key)} {calendar.fingerprint} {duckdb.__version__}"
    inputs += f" {compression}" if compression != ZSTD else ""
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]
