"""Kafka offset ranges to raw chunks: the exactly-once core."""
