//! The journal of closed trades: pages, order, cursor.

use serde_json::json;

use super::answer_form::notes_on_words;
use super::findings::ConformanceFinding;
use super::part_remedies::{fault_of, faults_of_answer};
use super::probe::{ProbeAnswer, ask, check_pace, status_finding};
use crate::bots::calls::READ_DEADLINE;
use crate::bots::reading::{self, TradeJournalPage, read_trade_page};
use crate::bots::transport::BotConnection;
use botops_contract::TradePage;

const CALL: &str = "GET trades";

/// Trades of the first page: enough to see an order, few enough to be left alone by.
const PAGE: usize = 5;

/// Reads the beginning of the journal, and what follows its first trade. What was read of it, if anything could be.
pub(super) async fn check_trades(
    connection: &BotConnection,
    found: &mut Vec<ConformanceFinding>,
) -> Option<ProbeAnswer> {
    let path = format!("trades?after=0&limit={PAGE}");
    let (answer, page) = read_page(connection, &path, found).await?;
    if page.trades.len() > PAGE {
        let remedy =
            "`limit` is ignored: give at most so many, oldest first, and the cursor of the rest as `next`.";
        let got = format!("{} trades for limit={PAGE}", page.trades.len());
        found.push(ConformanceFinding::warning("limit_ignored", CALL, remedy).got(&got));
    }
    if page.trades.iter().zip(page.trades.iter().skip(1)).any(|(one, two)| two.seq <= one.seq) {
        let remedy = "Trades come oldest first, each with a higher `seq` than the one before: a cursor passes what comes out of order.";
        found.push(ConformanceFinding::fault("trade_order", CALL, remedy).at("/items/seq"));
    }
    if let Some(first) = page.trades.first() {
        let path = format!("trades?after={}&limit={PAGE}", first.seq);
        if let Some((_, next)) = read_page(connection, &path, found).await
            && next.trades.iter().any(|trade| trade.seq <= first.seq)
        {
            let remedy = "`after` is ignored, so the same trades come again and again: give only those with a higher `seq`.";
            let got = format!("trade {} again, for after={}", first.seq, first.seq);
            found.push(ConformanceFinding::fault("after_ignored", CALL, remedy).got(&got));
        }
    }
    Some(answer)
}

async fn read_page(
    connection: &BotConnection,
    path: &str,
    found: &mut Vec<ConformanceFinding>,
) -> Option<(ProbeAnswer, TradeJournalPage)> {
    let answered = ask(CALL, connection.get(path), READ_DEADLINE).await;
    let answer = answered.map_err(|finding| found.push(finding)).ok()?;
    if let Some(finding) = status_finding(CALL, &answer.answer) {
        found.push(finding);
        return None;
    }
    found.extend(check_pace(CALL, &answer, false));
    // Everything that came is looked at, also what `after` should have left out.
    match read_trade_page(&answer.answer.body, 0) {
        Ok((page, unreadable)) => {
            found.extend(unreadable.iter().map(fault_of));
            if let Ok(came) = serde_json::from_slice(&answer.answer.body) {
                let taken = json!({ "trades": page.trades });
                found.extend(notes_on_words(CALL, &came, &taken, reading::allowed_words::<TradePage>));
            }
            Some((answer, page))
        }
        Err(why) => {
            found.extend(faults_of_answer(CALL, &why));
            None
        }
    }
}
