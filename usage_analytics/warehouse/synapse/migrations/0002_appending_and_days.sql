-- Rows are moved into the closed tier, no longer hidden there: what an interrupted close has left of fresh rows goes, and
-- which days are to be laid out anew is kept. Chunks name their first and last trading day; NULL means look everywhere.
IF OBJECT_ID(N'{schema}.[usage_events_appended]', N'U') IS NULL
CREATE TABLE {schema}.[usage_events_appended] ([trading_day] date NOT NULL) WITH (DISTRIBUTION = ROUND_ROBIN, HEAP);
DELETE {schema}.[usage_events_fresh] FROM {schema}.[usage_events_fresh]
JOIN (SELECT DISTINCT [trading_day], [load_id] FROM {schema}.[usage_events_closed]) AS [closed]
ON [closed].[trading_day] = {schema}.[usage_events_fresh].[trading_day]
AND [closed].[load_id] = {schema}.[usage_events_fresh].[load_id];
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[load_ledger]') AND [name] = N'first_day')
ALTER TABLE {schema}.[load_ledger] ADD [first_day] date NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[load_ledger]') AND [name] = N'last_day')
ALTER TABLE {schema}.[load_ledger] ADD [last_day] date NULL;
