-- What an event is about, for pages of one component, run or symbol, and pages from a time on.
CREATE INDEX events_by_component ON events(CASE WHEN json_valid(body) THEN body ->> '$.data.component_id' END, seq, kind, at_us)
    WHERE CASE WHEN json_valid(body) THEN body ->> '$.data.component_id' END IS NOT NULL;
CREATE INDEX events_by_run ON events(CASE WHEN json_valid(body) THEN body ->> '$.data.run_id' END, seq, kind, at_us)
    WHERE CASE WHEN json_valid(body) THEN body ->> '$.data.run_id' END IS NOT NULL;
CREATE INDEX events_by_symbol ON events(
    CASE WHEN json_valid(body) THEN coalesce(body ->> '$.data.symbol', body ->> '$.error.context.symbol') END, seq, kind, at_us)
    WHERE CASE WHEN json_valid(body) THEN coalesce(body ->> '$.data.symbol', body ->> '$.error.context.symbol') END IS NOT NULL;
CREATE INDEX events_by_time ON events(at_us, seq);
-- With the time, so that a page of one kind from a time on reads no rows that it leaves out.
DROP INDEX events_by_kind;
CREATE INDEX events_by_kind ON events(kind, seq, at_us);
