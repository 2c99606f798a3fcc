//! Spot trading of crypto: eight decimals, a quote currency, a market that never closes, a day of UTC.

use serde_json::{Value, json};

use super::{BotClock, ForeignBot, now};

pub(super) const BOT: ForeignBot = ForeignBot { name: "crypto_spot", hello, state };

fn hello() -> Value {
    json!({"contract": 2, "bot_id": "-", "name": "spot", "version": "2.0", "mode": "paper", "boot_epoch": "spot-1",
        "capabilities": ["pause", "resume"]})
}

fn state(clock: &BotClock) -> Value {
    json!({
        "seq": clock.seq(), "boot_epoch": "spot-1", "as_of": now(), "mode": "paper", "phase": "running",
        "trading_enabled": true, "day": {"zone": "UTC", "began_at": "2026-01-01T00:00:00Z"},
        "account": {"currency": "BTC", "account_balance": "0.01234567", "buying_power": 0.00034567,
                    "cash_balance": 1e-8},
        "positions": [
            {"symbol": "ETH/BTC", "quantity": "0.12000000", "entry_price": "0.10000000", "current_price": "0.10000001",
             "unrealized_pl": "0.0000000012"},
            {"symbol": "1000SHIB/BTC", "quantity": "123456789012345678901234567890.123", "entry_price": "0.00000001"},
        ],
        "orders": [{"id": "a", "symbol": "ETH/BTC", "side": "BUY", "order_type": "LIMIT", "status": "PENDING",
                    "quantity": "0.1", "limit_price": "0.09"}],
        "performance": {"daily_pl": "0.00004321", "total_realized_pl": null},
        "market": {"status": "ALWAYS_OPEN", "source": "kraken"},
        "unknown": [{"field": "performance.total_realized_pl", "why": "not_yet"}],
    })
}
