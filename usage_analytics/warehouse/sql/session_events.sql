-- Each event of the chosen trading days once, in its place: the order of each user, the user session it is in, whether
-- it opens a visit, and what came before and after. What is counted about an event is decided here; marts only group.
WITH single AS (
    SELECT e.trading_day, {user_id} AS user_id, {client_firm} AS client_firm, {mini_app} AS mini_app, {action} AS action,
           {screen} AS screen, e.event_time_us, {topic} AS topic, e.kafka_partition, e.kafka_offset, {fold} AS fold,
           CASE WHEN {is_measured} THEN CAST(FLOOR(e.latency_ms * 1000) AS BIGINT) END AS latency_us,
           CASE WHEN {is_sized} THEN CAST(FLOOR(e.payload_bytes) AS BIGINT) END AS payload_bytes, {entity} AS entity,
           {phase} AS phase
    FROM usage_events AS e
    LEFT JOIN repeated_events AS r
        ON r.topic = e.topic AND r.kafka_partition = e.kafka_partition AND r.kafka_offset = e.kafka_offset
    WHERE {days} AND r.topic IS NULL
),
beside AS (
    SELECT trading_day, user_id, client_firm, mini_app, action, screen, event_time_us, fold, latency_us,
           payload_bytes, entity, phase, ROW_NUMBER() OVER {in_order} AS position,
           event_time_us - LAG(event_time_us, 1) OVER {in_order} AS gap_1,
           LAG(event_time_us, 1) OVER {in_order} - LAG(event_time_us, 2) OVER {in_order} AS gap_2,
           LAG(event_time_us, 2) OVER {in_order} - LAG(event_time_us, 3) OVER {in_order} AS gap_3,
           LEAD(event_time_us, 1) OVER {in_order} - event_time_us AS gap_after,
           LAG(mini_app, 1) OVER {in_order} AS app_1,
           LAG(mini_app, 2) OVER {in_order} AS app_2,
           LAG(mini_app, 3) OVER {in_order} AS app_3,
           LEAD(mini_app, 1) OVER {in_order} AS app_after,
           LAG(action, 1) OVER {in_order} AS action_1,
           LAG(screen, 1) OVER {in_order} AS screen_1
    FROM single
),
related AS (
    SELECT trading_day, user_id, client_firm, mini_app, action, screen, event_time_us, fold, latency_us,
           payload_bytes, entity, phase, position,
           CASE WHEN gap_1 < 1800000000 THEN app_1 END AS prev1,
           CASE WHEN gap_1 < 1800000000 AND gap_2 < 1800000000 THEN app_2 END AS prev2,
           CASE WHEN gap_1 < 1800000000 AND gap_2 < 1800000000 AND gap_3 < 1800000000 THEN app_3 END AS prev3,
           CASE WHEN gap_1 < 1800000000 THEN gap_1 END AS dwell_before_us,
           CASE WHEN gap_after < 1800000000 THEN gap_after END AS dwell_us,
           CASE WHEN {is_error} THEN 1 ELSE 0 END AS error,
           CASE WHEN gap_after < 1800000000 AND app_after <> mini_app AND gap_after < latency_us THEN 1 ELSE 0 END
               AS abandoned,
           CASE WHEN gap_1 < 5000000 AND app_1 = mini_app
                     AND (action_1 = action OR action_1 IS NULL AND action IS NULL)
                     AND (screen_1 = screen OR screen_1 IS NULL AND screen IS NULL) THEN 1 ELSE 0 END AS repeated
    FROM beside
)
SELECT trading_day, user_id, client_firm, mini_app, action, screen, event_time_us, fold, latency_us, position, prev1,
       prev2, prev3, dwell_before_us, dwell_us, error, abandoned, repeated,
       SUM(CASE WHEN prev1 IS NULL THEN 1 ELSE 0 END) OVER (
           PARTITION BY trading_day, user_id ORDER BY position ROWS UNBOUNDED PRECEDING
       ) AS session_number,
       CASE WHEN prev1 = mini_app THEN 0 ELSE 1 END AS opens,
       payload_bytes, entity, phase
FROM related
