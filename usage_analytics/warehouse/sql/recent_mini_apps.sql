-- The mini-apps of the last user session among the chosen events, latest first.
WITH {session_events}
SELECT mini_app FROM session_events
QUALIFY session_number = max(session_number) OVER ()
ORDER BY event_time_us DESC, topic DESC, kafka_partition DESC, kafka_offset DESC
LIMIT ?
