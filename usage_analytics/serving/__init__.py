"""Look-ups that an application asks in real time, prepared ahead of time."""
