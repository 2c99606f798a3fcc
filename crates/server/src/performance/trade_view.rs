//! A closed trade as the list shows it: what the bot said, and what follows from that by plain arithmetic. Pure.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::config_names::ConfigNames;
use botops_contract::{Amount, Side, Trade, add_exactly, amount_value, subtract_exactly};

/// One closed trade. What the bot does not say of it is `null`; `unknown` of the page says why.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ClosedTradeView {
    /// Grows by one per closed trade of the account: the cursor.
    pub seq: u64,
    /// Symbol of the instrument, whole.
    pub symbol: String,
    /// `BUY` for a long trade, `SELL` for a short one.
    pub side: Option<Side>,
    /// The bot's own word for the side, where `side` is `OTHER`; left out otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side_raw: Option<String>,
    /// Quantity in units.
    pub quantity: Option<Amount>,
    /// When it was opened. In a replay this is market time.
    pub opened_at: Option<DateTime<Utc>>,
    /// Average price per unit of the fills that opened it.
    pub entry_price: Option<Amount>,
    /// Why it was opened, as the bot says.
    pub entry_reason: Option<String>,
    /// When it was closed. In a replay this is market time.
    pub closed_at: DateTime<Utc>,
    /// Average price per unit of the fills that closed it.
    pub exit_price: Option<Amount>,
    /// Why it was closed, as the bot says.
    pub exit_reason: Option<String>,
    /// Seconds from its opening to its closing.
    pub held_seconds: Option<f64>,
    /// Stop price at entry.
    pub stop_price: Option<Amount>,
    /// Target price at entry.
    pub target_price: Option<Amount>,
    /// Profit or loss before commission: as the bot says, or `net_pl` plus `commission`.
    pub gross_pl: Option<Amount>,
    /// Commission of all its fills: as the bot says, or `gross_pl` minus `net_pl`.
    pub commission: Option<Amount>,
    /// Profit or loss after commission.
    pub net_pl: Option<Amount>,
    /// `win`, `loss` or `breakeven`, by the sign of `net_pl`.
    pub result: Option<&'static str>,
    /// `net_pl` in percent of what was put in (`entry_price` times `quantity`).
    pub return_pct: Option<f64>,
    /// The config version that it was opened under; of several with the same content, the newest.
    pub config_version: Option<u64>,
}

/// A member that is `null` in some of the trades, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct UnknownMemberView {
    /// The member of the items.
    pub field: &'static str,
    /// In how many items of this page it is `null`.
    pub count: usize,
    /// Why nothing is known of it.
    pub why: &'static str,
}

const NOT_REPORTED: &str = "the bot does not say";
const NO_RESULT: &str = "the bot gives no net profit";
const NO_RETURN: &str = "it needs net profit, entry price and quantity, and a profit that follows from the prices: of a contract whose unit is \
     worth more than its price, it is not known what was put in";
const NO_VERSION: &str = "the bot does not say under which config it was opened, or that document is none of the versions kept here";

impl ClosedTradeView {
    pub(super) fn of(trade: Trade, names: &ConfigNames) -> Self {
        let (net, commission, gross) = (
            amount_value(trade.net_pl.as_ref()),
            amount_value(trade.commission.as_ref()),
            amount_value(trade.gross_pl.as_ref()),
        );
        let told =
            |given: Option<Amount>, follows: Option<Decimal>| given.or_else(|| follows.map(Amount::from));
        let gross_pl =
            told(trade.gross_pl.clone(), net.zip(commission).and_then(|(net, one)| add_exactly(net, one)));
        let paid = told(
            trade.commission.clone(),
            gross.zip(net).and_then(|(gross, net)| subtract_exactly(gross, net)),
        );
        let held = trade.opened_at.map(|opened| trade.closed_at - opened);
        Self {
            result: trade.net_pl.as_ref().map(result_of),
            return_pct: return_pct(&trade, amount_value(gross_pl.as_ref())),
            config_version: names.version_of(&trade.config_sha256),
            held_seconds: held.map(|held| held.as_seconds_f64()).filter(|seconds| *seconds >= 0.0),
            seq: trade.seq,
            symbol: trade.symbol,
            side: trade.side,
            side_raw: trade.side_raw,
            quantity: trade.quantity,
            opened_at: trade.opened_at,
            entry_price: trade.entry_price,
            entry_reason: Some(trade.entry_reason).filter(|reason| !reason.is_empty()),
            closed_at: trade.closed_at,
            exit_price: trade.exit_price,
            exit_reason: Some(trade.exit_reason).filter(|reason| !reason.is_empty()),
            stop_price: trade.stop_price,
            target_price: trade.target_price,
            gross_pl,
            commission: paid,
            net_pl: trade.net_pl,
        }
    }
}

/// By its sign, which any number has that can be written, whatever its digits.
fn result_of(net: &Amount) -> &'static str {
    let text = net.to_string();
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    match digits.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
        false => "breakeven",
        true if text.starts_with('-') => "loss",
        true => "win",
    }
}

/// The return in percent, to four places. `None` where the profit does not follow from the prices.
fn return_pct(trade: &Trade, gross: Option<Decimal>) -> Option<f64> {
    let net = amount_value(trade.net_pl.as_ref())?;
    let entry = amount_value(trade.entry_price.as_ref())?;
    let quantity = amount_value(trade.quantity.as_ref())?.abs();
    let put_in = entry.checked_mul(quantity)?.abs();
    if let (Some(gross), Some(exit)) = (gross, amount_value(trade.exit_price.as_ref())) {
        let moved = exit.checked_sub(entry)?.checked_mul(quantity)?.abs();
        // Prices are means that may be rounded.
        let tolerance =
            moved.checked_mul(Decimal::new(2, 2))?.checked_add(put_in.checked_mul(Decimal::new(1, 3))?)?;
        if gross.abs().checked_sub(moved)?.abs() > tolerance {
            return None;
        }
    }
    let share = net.checked_div(put_in)?.checked_mul(Decimal::ONE_HUNDRED)?;
    share.round_dp(4).to_string().parse().ok()
}

/// What is `null` in these trades, and why.
pub(super) fn unknown_members(trades: &[ClosedTradeView]) -> Vec<UnknownMemberView> {
    type IsNull = fn(&ClosedTradeView) -> bool;
    let members: [(&'static str, &'static str, IsNull); 14] = [
        ("side", NOT_REPORTED, |trade| trade.side.is_none()),
        ("quantity", NOT_REPORTED, |trade| trade.quantity.is_none()),
        ("opened_at", NOT_REPORTED, |trade| trade.opened_at.is_none()),
        ("entry_price", NOT_REPORTED, |trade| trade.entry_price.is_none()),
        ("entry_reason", NOT_REPORTED, |trade| trade.entry_reason.is_none()),
        ("exit_price", NOT_REPORTED, |trade| trade.exit_price.is_none()),
        ("exit_reason", NOT_REPORTED, |trade| trade.exit_reason.is_none()),
        ("held_seconds", "the bot does not say when it was opened, or says that it was later", |trade| {
            trade.held_seconds.is_none()
        }),
        ("gross_pl", NOT_REPORTED, |trade| trade.gross_pl.is_none()),
        ("commission", NOT_REPORTED, |trade| trade.commission.is_none()),
        ("net_pl", NOT_REPORTED, |trade| trade.net_pl.is_none()),
        ("result", NO_RESULT, |trade| trade.result.is_none()),
        ("return_pct", NO_RETURN, |trade| trade.return_pct.is_none()),
        ("config_version", NO_VERSION, |trade| trade.config_version.is_none()),
    ];
    let counted = members.into_iter().map(|(field, why, is_null)| UnknownMemberView {
        field,
        why,
        count: trades.iter().filter(|trade| is_null(trade)).count(),
    });
    counted.filter(|member| member.count > 0).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(members: &serde_json::Value) -> ClosedTradeView {
        let mut trade = json!({"seq": 1, "symbol": "SPY", "side": "BUY", "closed_at": "2026-03-02T15:00:00Z",
            "opened_at": "2026-03-02T14:59:30.5Z", "quantity": "10", "entry_price": "100", "exit_price": "101", "net_pl": "9.80",
            "commission": "0.20"});
        for (name, member) in members.as_object().unwrap() {
            trade[name] = member.clone();
        }
        ClosedTradeView::of(serde_json::from_value(trade).unwrap(), &ConfigNames::default())
    }

    #[test]
    fn what_follows_from_a_trade_is_told_and_nothing_else() {
        let told = view(&json!({}));
        assert_eq!(told.gross_pl.unwrap().to_string(), "10.00");
        assert_eq!((told.result, told.return_pct, told.held_seconds), (Some("win"), Some(0.98), Some(29.5)));
        assert_eq!((told.exit_reason, told.config_version), (None, None));
        let future = view(&json!({"net_pl": "500", "commission": "0"}));
        assert_eq!(future.return_pct, None, "one unit is worth fifty times its price");
        let short = view(&json!({"side": "SELL", "net_pl": "-10", "commission": null}));
        assert_eq!((short.result, short.return_pct, short.gross_pl), (Some("loss"), Some(-1.0), None));
        for (net, result) in
            [("-0.00", "breakeven"), ("0e5", "breakeven"), ("-1e-400", "loss"), ("1e400", "win")]
        {
            assert_eq!(view(&json!({"net_pl": net})).result, Some(result), "{net}");
        }
        let bare = view(&json!({"net_pl": null, "opened_at": "2026-03-02T15:00:01Z", "quantity": "0"}));
        assert_eq!((bare.result, bare.return_pct, bare.held_seconds), (None, None, None));
        let unknown: Vec<_> = unknown_members(&[bare]).into_iter().map(|member| member.field).collect();
        let named =
            ["entry_reason", "exit_reason", "held_seconds", "gross_pl", "net_pl", "result", "return_pct"];
        assert!(named.iter().all(|field| unknown.contains(field)), "{unknown:?}");
    }
}
