"""Raw chunk to typed, enriched Parquet and dead letters: a pure function."""
