WITH {session_events}
SELECT trading_day, user_id, session_number,
       min(client_firm) AS client_firm,
       min(event_time_us) AS started_us,
       max(event_time_us) AS ended_us,
       count(*) AS events,
       count(DISTINCT mini_app) AS mini_apps,
       arg_min(mini_app, (event_time_us, topic, kafka_partition, kafka_offset)) AS first_mini_app,
       arg_max(mini_app, (event_time_us, topic, kafka_partition, kafka_offset)) AS last_mini_app
FROM session_events
GROUP BY trading_day, user_id, session_number
