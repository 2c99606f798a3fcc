//! Reads freqtrade's closed trades into the adapter's own log.

use std::time::Duration;

use crate::trades::{ClosedTrade, ClosedTradeLog};
use crate::upstream::{FreqtradeClient, TradesAnswer, UpstreamFailure};

/// Trades in one page: a page with its orders is some 200 KB.
const PAGE: usize = 100;

/// More pages than any history has; a freqtrade that repeats itself must not make this endless.
const MOST_PAGES: usize = 10_000;

/// Reading trades goes through freqtrade's database.
const TRADES_LIMIT: Duration = Duration::from_secs(10);

/// Reads pages, newest first, until one has a trade that is known and there are no more than are known then.
///
/// What was read before a failure is not numbered: the order of closing would be lost.
pub(super) async fn pull_trades(
    client: &FreqtradeClient,
    log: &ClosedTradeLog,
    account_id: &str,
) -> Result<usize, UpstreamFailure> {
    let mut found = Vec::new();
    let known = log.count_of(account_id);
    for page in 0..MOST_PAGES {
        let path = format!("trades?limit={PAGE}&offset={}&order_by_id=false", page * PAGE);
        let answer: TradesAnswer = client.get(&path, TRADES_LIMIT).await?.read()?;
        let (trades, total) = (answer.trades, answer.total_trades);
        if trades.unreadable > 0 {
            tracing::warn!("{} closed trades of freqtrade cannot be read", trades.unreadable);
        }
        let count = trades.items.len() + trades.unreadable;
        let closed: Vec<ClosedTrade> =
            trades.items.iter().filter_map(|trade| ClosedTrade::of(trade, account_id)).collect();
        let reaches_known = closed.iter().any(|trade| log.contains(&trade.key));
        found.extend(closed.into_iter().filter(|trade| !log.contains(&trade.key)));
        let all = total.and_then(|total| usize::try_from(total).ok());
        let has_all = all.is_some_and(|all| known + found.len() >= all);
        if count < PAGE || reaches_known && has_all {
            break;
        }
    }
    let new = log.append(found).map_err(|error| {
        tracing::error!("closed trades cannot be kept: {error}");
        UpstreamFailure::Unreadable("closed trades cannot be kept on the adapter's disk".to_owned())
    })?;
    log.set_complete();
    Ok(new)
}
