//! The account: what the bot owns, in its stake currency.

use botops_contract::{Account, Amount, UnknownWhy, amount_value};

use super::unknown_fields::{UnknownFields, why_missing};
use crate::polling::UpstreamPicture;
use crate::upstream::CurrencyBalance;

/// The account, and why parts of it are not known.
pub(super) fn account_of(picture: &UpstreamPicture, unknown: &mut UnknownFields) -> Account {
    let config = picture.config.value();
    let currency = config.and_then(|config| config.stake_currency.clone());
    let balance = picture.balance.value();
    let stake = stake_balance(picture);
    let account_balance = balance.and_then(|balance| balance.total_bot.clone());
    let cash_balance = stake.and_then(cash_of);
    let is_cross = config.and_then(|config| config.margin_mode.as_deref()) == Some("cross");
    let ratio = config.and_then(|config| config.tradable_balance_ratio.as_ref());
    let buying_power = stake
        .filter(|_| !is_cross)
        .and_then(|stake| amount_value(stake.free.as_ref())?.checked_mul(amount_value(ratio)?))
        .map(|power| Amount::from(power.normalize()));
    let why = why_missing(&picture.balance);
    unknown.note("account.account_balance", account_balance.as_ref(), why);
    unknown.note("account.cash_balance", cash_balance.as_ref(), why);
    // What freqtrade lets new trades cost depends on a ratio that it does not tell.
    unknown.note("account.buying_power", buying_power.as_ref(), why);
    unknown.add("account.day_trade_count", UnknownWhy::NotApplicable);
    Account {
        account_id: picture.account_id(),
        currency,
        buying_power,
        account_balance,
        cash_balance,
        day_trade_count: None,
        last_updated: picture.balance.at(),
    }
}

/// The stake currency's entry of the balance.
pub(super) fn stake_balance(picture: &UpstreamPicture) -> Option<&CurrencyBalance> {
    let currency = picture.config.value()?.stake_currency.as_deref()?;
    let currencies = &picture.balance.value()?.currencies.items;
    currencies.iter().find(|one| one.currency == currency && one.is_position != Some(true))
}

/// What of the stake currency the bot owns, as `total_bot` counts; in older versions what the account has of it.
fn cash_of(stake: &CurrencyBalance) -> Option<Amount> {
    if stake.bot_owned.is_some() {
        return stake.bot_owned.clone();
    }
    let used = amount_value(stake.used.as_ref()).unwrap_or_default();
    if used.is_zero() {
        return stake.free.clone();
    }
    Some(amount_value(stake.free.as_ref())?.checked_add(used)?.into())
}
