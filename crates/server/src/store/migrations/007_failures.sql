-- Events of any kind that carry a failure, for a list of failures that does not read all others.
CREATE INDEX events_with_failure ON events(seq)
    WHERE CASE WHEN json_valid(body) THEN json_type(body, '$.error') END = 'object';
