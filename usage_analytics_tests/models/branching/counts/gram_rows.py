"""Rows of counts as tests write them down."""

import polars as pl

SCHEMA = {
    "prev3": pl.String,
    "prev2": pl.String,
    "prev1": pl.String,
    "next": pl.String,
    "transitions": pl.Int64,
}
