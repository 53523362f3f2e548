"""Everything Dagster, and nothing else."""
