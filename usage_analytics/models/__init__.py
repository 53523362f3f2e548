"""Models that learn from sufficient statistics: one folder per question."""
