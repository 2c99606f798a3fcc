-- What closed trades are looked for by. These columns follow from the body, so that an earlier release, which writes the body
-- alone, fills them as well. A body that is no JSON has none of them.
CREATE TABLE trades_with_names(
  bot_id        TEXT    NOT NULL,
  account_id    TEXT    NOT NULL DEFAULT '',
  seq           INTEGER NOT NULL,
  symbol        TEXT    NOT NULL,
  closed_us     INTEGER NOT NULL,
  side          ANY GENERATED ALWAYS AS (CASE WHEN json_valid(body) THEN json_extract(body, '$.side') END) STORED,
  net_pl        ANY GENERATED ALWAYS AS (CASE WHEN json_valid(body) THEN json_extract(body, '$.net_pl') END) STORED,
  -- Won or lost, by the sign of the net profit.
  result        ANY GENERATED ALWAYS AS (
    CASE WHEN net_pl IS NULL THEN NULL WHEN CAST(net_pl AS REAL) > 0 THEN 'win' WHEN CAST(net_pl AS REAL) < 0 THEN 'loss'
    ELSE 'breakeven' END) STORED,
  config_sha256 ANY GENERATED ALWAYS AS (CASE WHEN json_valid(body) THEN json_extract(body, '$.config_sha256') END) STORED,
  -- Why it was closed, without the numbers in it: `stop at 95.3 reached at 95.2` and its like are one reason.
  exit_kind     ANY GENERATED ALWAYS AS (
    CASE WHEN json_valid(body) THEN
      replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(replace(
        coalesce(json_extract(body, '$.exit_reason'), ''),
        '0', ''), '1', ''), '2', ''), '3', ''), '4', ''), '5', ''), '6', ''), '7', ''), '8', ''), '9', ''),
        '.', ''), ',', ''), '-', ''), '+', '')
    END) STORED,
  body          TEXT    NOT NULL,
  PRIMARY KEY (bot_id, account_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO trades_with_names(bot_id, account_id, seq, symbol, closed_us, body)
  SELECT bot_id, account_id, seq, symbol, closed_us, body FROM trades;
DROP TABLE trades;
ALTER TABLE trades_with_names RENAME TO trades;
-- Ordered as a list of trades is, each with what it is looked for by; the first has what is summed as well.
CREATE INDEX trades_by_close ON trades(bot_id, account_id, closed_us, seq, net_pl, symbol);
CREATE INDEX trades_by_symbol ON trades(bot_id, account_id, symbol, closed_us, seq);
CREATE INDEX trades_by_result ON trades(bot_id, account_id, result, closed_us, seq);
CREATE INDEX trades_by_side ON trades(bot_id, account_id, side, closed_us, seq);
CREATE INDEX trades_by_config ON trades(bot_id, account_id, config_sha256, closed_us, seq);
CREATE INDEX trades_by_exit ON trades(bot_id, account_id, exit_kind, closed_us, seq);
