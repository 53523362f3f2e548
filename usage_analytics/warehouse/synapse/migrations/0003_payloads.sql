-- Events say what they were about and how much was fetched for it; friction adds up the latter. Of events of before
-- neither is known, and of marts of before no payload was counted: the next close makes them anew, by their new rule.
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_fresh]') AND [name] = N'entity')
ALTER TABLE {schema}.[usage_events_fresh] ADD [entity] nvarchar(400) COLLATE Latin1_General_100_BIN2 NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_fresh]') AND [name] = N'payload_bytes')
ALTER TABLE {schema}.[usage_events_fresh] ADD [payload_bytes] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_closed]') AND [name] = N'entity')
ALTER TABLE {schema}.[usage_events_closed] ADD [entity] nvarchar(400) COLLATE Latin1_General_100_BIN2 NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_closed]') AND [name] = N'payload_bytes')
ALTER TABLE {schema}.[usage_events_closed] ADD [payload_bytes] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_long]') AND [name] = N'entity')
ALTER TABLE {schema}.[usage_events_long] ADD [entity] nvarchar(400) COLLATE Latin1_General_100_BIN2 NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[usage_events_long]') AND [name] = N'payload_bytes')
ALTER TABLE {schema}.[usage_events_long] ADD [payload_bytes] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[friction]') AND [name] = N'sized')
ALTER TABLE {schema}.[friction] ADD [sized] bigint NOT NULL DEFAULT 0;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[friction]') AND [name] = N'payload_bytes')
ALTER TABLE {schema}.[friction] ADD [payload_bytes] bigint NOT NULL DEFAULT 0;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[preload_plan]') AND [name] = N'value_ms')
ALTER TABLE {schema}.[preload_plan] ADD [value_ms] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[preload_plan]') AND [name] = N'saved_ms')
ALTER TABLE {schema}.[preload_plan] ADD [saved_ms] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[preload_plan]') AND [name] = N'cost_ms')
ALTER TABLE {schema}.[preload_plan] ADD [cost_ms] float NULL;
IF NOT EXISTS (SELECT 1 FROM sys.columns WHERE [object_id] = OBJECT_ID(N'{schema}.[preload_plan]') AND [name] = N'payload_bytes')
ALTER TABLE {schema}.[preload_plan] ADD [payload_bytes] float NULL;
