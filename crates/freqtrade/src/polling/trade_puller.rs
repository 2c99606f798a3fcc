//! Reads freqtrade's closed trades into the adapter's own log.

use std::collections::HashSet;
use std::time::Duration;

use tokio::task::block_in_place;

use super::account_names::AccountNames;
use crate::trades::{ClosedTrade, ClosedTradeLog, key_of_open};
use crate::upstream::{ConfigEcho, FreqtradeClient, HealthAnswer, TradesAnswer, UpstreamFailure};

/// Trades in one page: a page with its orders is some 200 KB.
const PAGE: usize = 100;

/// More pages than any history has; a freqtrade that repeats itself must not make this endless.
const MOST_PAGES: usize = 10_000;

/// Reading trades goes through freqtrade's database.
const TRADES_LIMIT: Duration = Duration::from_secs(10);

/// Config and health are in freqtrade's memory.
const CONFIG_LIMIT: Duration = Duration::from_secs(5);

/// Reads freqtrade's closed trades, newest first, and gives the account of which they are and how many were new.
///
/// The first time in a run, and for another account, all of them are read; afterwards no page after one that has nothing
/// new. What was read before a failure is not numbered: the order of closing would be lost. Nor is what freqtrade gave
/// while it began to trade another account.
pub(super) async fn pull_trades(
    client: &FreqtradeClient,
    log: &ClosedTradeLog,
    names: &AccountNames,
    last_account: Option<&str>,
) -> Result<(String, usize), UpstreamFailure> {
    let account = read_account(client, names, last_account).await?;
    let is_known = log.is_complete(&account);
    let (mut found, mut seen, mut unreadable) = (Vec::new(), HashSet::new(), 0);
    for page in 0..MOST_PAGES {
        let path = format!("trades?limit={PAGE}&offset={}&order_by_id=false", page * PAGE);
        let trades = client.get(&path, TRADES_LIMIT).await?.read::<TradesAnswer>()?.trades;
        unreadable += trades.unreadable;
        let count = trades.items.len() + trades.unreadable;
        let before = (found.len(), seen.len());
        seen.extend(trades.items.iter().map(key_of_open));
        let closed = trades.items.iter().filter_map(|trade| ClosedTrade::of(trade, &account));
        found.extend(closed.filter(|trade| !log.contains(&trade.key)));
        let is_repeated = trades.unreadable == 0 && seen.len() == before.1;
        if count < PAGE || is_repeated || is_known && found.len() == before.0 {
            break;
        }
    }
    if read_account(client, names, last_account).await? != account {
        return Err(UpstreamFailure::Unreadable("it trades another account now".to_owned()));
    }
    if unreadable > 0 && log.note_unreadable() {
        tracing::warn!("{unreadable} closed trades of freqtrade cannot be read: results are without them");
    }
    let new = block_in_place(|| log.append(found)).map_err(|error| {
        tracing::error!("closed trades cannot be kept: {error}");
        UpstreamFailure::Unreadable("closed trades cannot be kept on the adapter's disk".to_owned())
    })?;
    log.set_complete(&account);
    Ok((account, new))
}

/// The account that freqtrade trades at this moment.
async fn read_account(
    client: &FreqtradeClient,
    names: &AccountNames,
    last_account: Option<&str>,
) -> Result<String, UpstreamFailure> {
    let config: ConfigEcho = client.get("show_config", CONFIG_LIMIT).await?.read()?;
    let health = client.get("health", CONFIG_LIMIT).await.and_then(|answer| answer.read::<HealthAnswer>());
    let database = match health {
        Ok(health) => Some(health.database),
        Err(failure) if failure.was_answered() => None,
        Err(failure) => return Err(failure),
    };
    let account = names.name(&config, database, last_account);
    account
        .ok_or_else(|| UpstreamFailure::Unreadable("it does not say yet which database it uses".to_owned()))
}
