-- All marts of one trading day, as somebody who knows ClickHouse writes them for it: an intermediate table for what
-- several of them share, and of a table in the order of each user no sort for what comes before and after an event.
SET optimize_read_in_window_order = 1;

CREATE VIEW of_day AS SELECT * FROM {source} WHERE trading_day = '{day}';

-- Of events that repeat another, all but the first on Kafka.
CREATE TABLE dropped ENGINE = Memory AS
SELECT topic, kafka_partition, kafka_offset
FROM (
    SELECT topic, kafka_partition, kafka_offset,
           row_number() OVER (PARTITION BY user_id, event_id ORDER BY topic, kafka_partition, kafka_offset) AS copy
    FROM of_day
    WHERE cityHash64(user_id, event_id) IN (
        SELECT cityHash64(user_id, event_id) AS hashed FROM of_day GROUP BY hashed HAVING count() > 1
    )
)
WHERE copy > 1;

CREATE TABLE events ENGINE = MergeTree ORDER BY tuple() AS
WITH beside AS (
    SELECT user_id, mini_app, action, client_firm, event_time_us,
           if(latency_ms BETWEEN 0 AND 1800000, toInt64(floor(latency_ms * 1000)), NULL) AS latency_us,
           if(payload_bytes BETWEEN 0 AND 1073741824, toInt64(floor(payload_bytes)), NULL) AS payload,
           row_number() OVER w AS position,
           event_time_us - lagInFrame(toNullable(event_time_us), 1) OVER w AS gap_1,
           event_time_us - lagInFrame(toNullable(event_time_us), 2) OVER w AS gap_2,
           event_time_us - lagInFrame(toNullable(event_time_us), 3) OVER w AS gap_3,
           leadInFrame(toNullable(event_time_us)) OVER w - event_time_us AS gap_after,
           lagInFrame(mini_app, 1) OVER w AS app_1,
           lagInFrame(mini_app, 2) OVER w AS app_2,
           lagInFrame(mini_app, 3) OVER w AS app_3,
           leadInFrame(mini_app) OVER w AS app_after,
           lagInFrame(action) OVER w AS action_1,
           lagInFrame(screen) OVER w AS screen_1,
           screen
    FROM of_day
    WHERE (topic, kafka_partition, kafka_offset) NOT IN (SELECT topic, kafka_partition, kafka_offset FROM dropped)
    WINDOW w AS (
        PARTITION BY user_id ORDER BY event_time_us, topic, kafka_partition, kafka_offset
        ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING
    )
),
related AS (
    SELECT *,
           ifNull(gap_1 < 1800000000, false) AS goes_on,
           goes_on AND ifNull(gap_2 - gap_1 < 1800000000, false) AS goes_on_2,
           goes_on_2 AND ifNull(gap_3 - gap_2 < 1800000000, false) AS goes_on_3
    FROM beside
)
SELECT user_id, mini_app, action, client_firm, event_time_us, latency_us, payload, position,
       CAST(if(goes_on, app_1, NULL) AS LowCardinality(Nullable(String))) AS prev1,
       CAST(if(goes_on_2, app_2, NULL) AS LowCardinality(Nullable(String))) AS prev2,
       CAST(if(goes_on_3, app_3, NULL) AS LowCardinality(Nullable(String))) AS prev3,
       if(goes_on, gap_1, NULL) AS dwell_before_us,
       if(gap_after < 1800000000, gap_after, NULL) AS dwell_us,
       CAST(ifNull(action = 'error', false) AS Bool) AS error,
       CAST(ifNull(dwell_us IS NOT NULL AND app_after != mini_app AND gap_after < latency_us, false) AS Bool) AS abandoned,
       CAST(
           ifNull(gap_1 < 5000000, false) AND app_1 = mini_app AND action_1 IS NOT DISTINCT FROM action
           AND screen_1 IS NOT DISTINCT FROM screen AS Bool
       ) AS repeated,
       CAST(NOT goes_on OR app_1 != mini_app AS Bool) AS visit,
       sum(NOT goes_on) OVER (
           PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
       ) AS session_number
FROM related;

CREATE TABLE uses ENGINE = MergeTree ORDER BY tuple() AS
SELECT user_id, session_number, mini_app,
       min(client_firm) AS client_firm, min(event_time_us) AS started_us, max(event_time_us) AS ended_us,
       min(position) AS first_position, max(position) AS last_position,
       count() AS events, countIf(visit) AS visits, ifNull(sum(dwell_us), 0) AS dwell_us, countIf(error) AS errors
FROM events AS e GROUP BY user_id, session_number, mini_app;

INSERT INTO FUNCTION {mart user_sessions}
SELECT user_id, session_number, min(client_firm) AS client_firm, min(started_us) AS started_us,
       max(ended_us) AS ended_us, sum(u.events) AS events, count() AS mini_apps,
       argMin(mini_app, first_position) AS first_mini_app, argMax(mini_app, last_position) AS last_mini_app,
       sum(u.errors) AS errors
FROM uses AS u GROUP BY user_id, session_number;

INSERT INTO FUNCTION {mart app_transitions}
SELECT reinterpretAsUInt8(unhex(substring(user_id, 1, 2))) % 5 AS fold, prev3, prev2, prev1, mini_app AS next,
       count() AS transitions, ifNull(sum(dwell_before_us), 0) AS dwell_us, count(e.latency_us) AS timed,
       ifNull(sum(e.latency_us), 0) AS latency_us
FROM events AS e GROUP BY fold, prev3, prev2, prev1, next;

CREATE TABLE user_profiles ENGINE = MergeTree ORDER BY tuple() AS
SELECT user_id, mini_app, sum(u.events) AS events, sum(u.visits) AS visits, count() AS user_sessions,
       sum(u.dwell_us) AS dwell_us, sum(u.errors) AS errors
FROM uses AS u GROUP BY user_id, mini_app;

INSERT INTO FUNCTION {mart user_profiles} SELECT * FROM user_profiles;

INSERT INTO FUNCTION {mart usage_series}
WITH of_users AS (
    SELECT intDiv(event_time_us, 60000000) AS minute, mini_app, user_id, count() AS events, countIf(error) AS errors
    FROM events GROUP BY minute, mini_app, user_id
)
SELECT minute * 60000000 AS minute_us, mini_app, sum(o.events) AS events, count() AS users, sum(o.errors) AS errors
FROM of_users AS o GROUP BY minute, mini_app;

INSERT INTO FUNCTION {mart co_use}
WITH of_users AS (SELECT groupArray(mini_app) AS used FROM user_profiles GROUP BY user_id)
SELECT mini_app, other, count() AS users
FROM (SELECT used, arrayJoin(used) AS mini_app FROM of_users) ARRAY JOIN used AS other
WHERE other >= mini_app
GROUP BY mini_app, other;

INSERT INTO FUNCTION {mart paths}
WITH openings AS (
    SELECT arraySlice(arraySort(groupArray((position, mini_app))), 1, 5).2 AS steps
    FROM events WHERE visit GROUP BY user_id, session_number
)
SELECT steps[1] AS step_1, if(length(steps) > 1, steps[2], NULL) AS step_2, if(length(steps) > 2, steps[3], NULL)
           AS step_3,
       if(length(steps) > 3, steps[4], NULL) AS step_4, if(length(steps) > 4, steps[5], NULL) AS step_5,
       count() AS user_sessions
FROM openings GROUP BY steps;

CREATE TABLE waits ENGINE = Memory AS
SELECT mini_app, action, length(toString(e.latency_us)) AS digits,
       if(e.latency_us < 10, 100 + e.latency_us, 100 * digits + intDiv(e.latency_us, toInt64(exp10(digits - 2))))
           AS bucket,
       count() AS events, count(e.latency_us) AS timed, ifNull(sum(e.latency_us), 0) AS latency_us,
       countIf(error) AS errors, countIf(e.abandoned) AS abandoned, countIf(repeated) AS repeats,
       count(payload) AS sized, ifNull(sum(payload), 0) AS payload_bytes
FROM events AS e GROUP BY mini_app, action, digits, bucket;

INSERT INTO FUNCTION {mart friction}
SELECT mini_app, action, sum(w.events) AS events, sum(w.timed) AS timed, sum(w.latency_us) AS latency_us,
       sum(w.errors) AS errors, sum(w.abandoned) AS abandoned, sum(w.repeats) AS repeats,
       sum(w.sized) AS sized, sum(w.payload_bytes) AS payload_bytes
FROM waits AS w GROUP BY mini_app, action;

INSERT INTO FUNCTION {mart latency_histogram}
SELECT mini_app, action, bucket, events FROM waits WHERE bucket IS NOT NULL;

INSERT INTO FUNCTION {mart funnels}
WITH first AS (
    SELECT user_id, position, event_time_us, mini_app, if(mini_app = '{step_1}', event_time_us, NULL) AS from_1
    FROM events WHERE mini_app IN ('{step_1}', '{step_2}', '{step_3}')
),
second AS (
    SELECT *, max(from_1) OVER w AS start_2,
           if(mini_app = '{step_2}' AND event_time_us - start_2 <= {within_us}, start_2, NULL) AS from_2
    FROM first
    WINDOW w AS (PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
third AS (
    SELECT *, max(from_2) OVER w AS start_3,
           if(mini_app = '{step_3}' AND event_time_us - start_3 <= {within_us}, start_3, NULL) AS from_3
    FROM second
    WINDOW w AS (PARTITION BY user_id ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
of_users AS (
    SELECT [argMinIf(event_time_us - from_1, position, from_1 IS NOT NULL),
            argMinIf(event_time_us - from_2, position, from_2 IS NOT NULL),
            argMinIf(event_time_us - from_3, position, from_3 IS NOT NULL)] AS took
    FROM third GROUP BY user_id
)
SELECT '{funnel}' AS funnel, step, count(took_of_step) AS users, ifNull(sum(took_of_step), 0) AS took_us
FROM of_users ARRAY JOIN took AS took_of_step, [1, 2, 3] AS step
GROUP BY step;
