"""Usage analytics for large desktop applications: from a Kafka offset to a recommendation."""
