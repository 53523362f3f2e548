"""Where Parquet lives."""
