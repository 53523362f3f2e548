"""Messages to try the platform with: recorded ones, replayed."""
