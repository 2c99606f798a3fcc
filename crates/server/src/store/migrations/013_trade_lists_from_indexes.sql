-- The columns by which closed trades are looked for become plain ones, filled by a trigger: SQLite reads the table for every
-- row where a generated column is asked for, even one that stands in the index. An earlier release, which writes the body
-- alone, still fills them. A body that is no JSON has none of them.
CREATE TABLE trades_with_columns(
  bot_id        TEXT    NOT NULL,
  account_id    TEXT    NOT NULL DEFAULT '',
  seq           INTEGER NOT NULL,
  symbol        TEXT    NOT NULL,
  closed_us     INTEGER NOT NULL,
  side          ANY,
  net_pl        ANY,
  -- Won or lost, by the sign of the net profit.
  result        TEXT,
  config_sha256 ANY,
  -- Why it was closed, without the numbers in it: `stop at 95.3 reached at 95.2` and its like are one reason.
  exit_kind     TEXT,
  body          TEXT    NOT NULL,
  PRIMARY KEY (bot_id, account_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO trades_with_columns(bot_id, account_id, seq, symbol, closed_us, side, net_pl, result, config_sha256, exit_kind, body)
  SELECT bot_id, account_id, seq, symbol, closed_us, side, net_pl, result, config_sha256, exit_kind, body FROM trades;
DROP TABLE trades;
ALTER TABLE trades_with_columns RENAME TO trades;
CREATE TRIGGER trades_columns AFTER INSERT ON trades WHEN json_valid(NEW.body) BEGIN
  UPDATE trades SET
    side = json_extract(NEW.body, '$.side'),
    net_pl = json_extract(NEW.body, '$.net_pl'),
    result = CASE
      WHEN json_extract(NEW.body, '$.net_pl') IS NULL THEN NULL
      WHEN CAST(json_extract(NEW.body, '$.net_pl') AS REAL) > 0 THEN 'win'
      WHEN CAST(json_extract(NEW.body, '$.net_pl') AS REAL) < 0 THEN 'loss'
      ELSE 'breakeven' END,
    config_sha256 = json_extract(NEW.body, '$.config_sha256'),
    exit_kind =
      replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        coalesce(json_extract(NEW.body, '$.exit_reason'), ''),
        '0', ''), '1', ''), '2', ''), '3', ''), '4', ''), '5', ''), '6', ''), '7', ''), '8', ''), '9', ''),
        '.', ''), ',', ''), '-', ''), '+', '')
  WHERE bot_id = NEW.bot_id AND account_id = NEW.account_id AND seq = NEW.seq;
END;
-- Ordered as a list of trades is. Each has what a trade is looked for by besides, so that a list is found in one index; the
-- first has what is summed as well.
CREATE INDEX trades_by_close ON trades(bot_id, account_id, closed_us, seq, net_pl, symbol, side, result);
CREATE INDEX trades_by_symbol ON trades(bot_id, account_id, symbol, closed_us, seq, side, result, exit_kind);
CREATE INDEX trades_by_result ON trades(bot_id, account_id, result, closed_us, seq, side);
CREATE INDEX trades_by_side ON trades(bot_id, account_id, side, closed_us, seq, result, exit_kind);
CREATE INDEX trades_by_config ON trades(bot_id, account_id, config_sha256, closed_us, seq, symbol, side, result, exit_kind);
CREATE INDEX trades_by_exit ON trades(bot_id, account_id, exit_kind, closed_us, seq, side, result);
