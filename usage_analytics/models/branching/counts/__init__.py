"""Counts of what followed the last mini-apps, and how far longer contexts are trusted beside shorter ones."""
