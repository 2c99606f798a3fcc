-- Closed trades as the bot told them; `seq` is the bot's own cursor, so a pull can be repeated without harm.
CREATE TABLE trades(
    bot_id    TEXT NOT NULL,
    seq       INTEGER NOT NULL,
    symbol    TEXT NOT NULL,
    closed_us INTEGER NOT NULL,
    body      TEXT NOT NULL,
    PRIMARY KEY (bot_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX trades_by_close ON trades(bot_id, closed_us);
