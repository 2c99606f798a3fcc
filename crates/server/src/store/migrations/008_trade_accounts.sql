-- Closed trades belong to an account: a new account of the same bot numbers its trades anew, and its results are its own.
-- Trades of before, and of bots that name no account, have the empty name.
CREATE TABLE trades_of_accounts(
  bot_id     TEXT    NOT NULL,
  account_id TEXT    NOT NULL DEFAULT '',
  seq        INTEGER NOT NULL,
  symbol     TEXT    NOT NULL,
  closed_us  INTEGER NOT NULL,
  body       TEXT    NOT NULL,
  PRIMARY KEY (bot_id, account_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO trades_of_accounts(bot_id, account_id, seq, symbol, closed_us, body)
  SELECT bot_id, '', seq, symbol, closed_us, body FROM trades;
DROP TABLE trades;
ALTER TABLE trades_of_accounts RENAME TO trades;
CREATE INDEX trades_by_close ON trades(bot_id, account_id, closed_us);
