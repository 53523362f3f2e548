"""User sessions: their files, and what sequence models read."""
