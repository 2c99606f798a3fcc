//! Single calls to the bot, each with a deadline and over a connection of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call_error::CallError;
use super::exchange::{self, HttpAnswer, TransportFailure};
use super::link::BotLink;
use super::reading::{self, TradeJournalPage};
use super::sanitise;
use super::transport::BotConnection;
use botops_contract::{COMMAND_STATUS, CommandStatus, ContractRefusal};
use botops_core::object_reader::read_json_bytes;

/// A command that needs longer than this is stuck behind something; the caller is told that its effect is unknown.
pub(super) const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// Reads beside the poll (trades, config) answer from the bot's memory.
pub(super) const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Calls over the link; cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct BotCalls {
    link: Arc<BotLink>,
}

impl BotCalls {
    pub(super) fn new(link: Arc<BotLink>) -> Self {
        Self { link }
    }

    /// What became of a command, asked of a bot that can say so.
    pub(super) async fn command_status(&self, path: &str) -> Result<CommandStatus, CallError> {
        let connection = self.link.connection_for_status(COMMAND_STATUS)?;
        let answer = self.exchange(COMMAND_STATUS, connection.get(path), READ_DEADLINE).await?;
        Self::read(&format!("GET {path}"), &answer)
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        capability: &str,
        path: &str,
    ) -> Result<T, CallError> {
        let answer = self.call(capability, |transport| transport.get(path), READ_DEADLINE).await?;
        Self::read(&format!("GET {path}"), &answer)
    }

    /// An answer that is read by whoever asked.
    pub(super) async fn get_text(&self, capability: &str, path: &str) -> Result<String, CallError> {
        let answer = self.call(capability, |transport| transport.get(path), READ_DEADLINE).await?;
        String::from_utf8(answer.body).map_err(|_| CallError::Invalid(format!("GET {path} is not UTF-8")))
    }

    pub(super) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        capability: &str,
        path: &str,
        body: &B,
    ) -> Result<T, CallError> {
        let answer =
            self.call(capability, |transport| transport.post(path).json(body), COMMAND_DEADLINE).await?;
        Self::read(&format!("POST {path}"), &answer)
    }

    /// The page of the journal of trades above the number `after`, which `path` asks for: one that cannot be read is left
    /// out, counted and told.
    pub(super) async fn get_trades(&self, path: &str, after: u64) -> Result<TradeJournalPage, CallError> {
        let answer = self.call("trades", |transport| transport.get(path), READ_DEADLINE).await?;
        match reading::read_trade_page(&answer.body, after) {
            Ok((page, unreadable)) => {
                self.link.add_unreadable_items(&unreadable);
                Ok(page)
            }
            Err(why) => {
                self.link.add_unreadable_items(&why.parts);
                Err(CallError::Invalid(why.sentence))
            }
        }
    }

    async fn call(
        &self,
        capability: &str,
        request: impl FnOnce(&BotConnection) -> reqwest::RequestBuilder,
        deadline: Duration,
    ) -> Result<HttpAnswer, CallError> {
        let connection = self.link.connection_for_call(capability)?;
        self.exchange(capability, request(&connection), deadline).await
    }

    async fn exchange(
        &self,
        capability: &str,
        request: reqwest::RequestBuilder,
        deadline: Duration,
    ) -> Result<HttpAnswer, CallError> {
        self.link.counters.calls.fetch_add(1, Ordering::Relaxed);
        let sent = exchange::exchange(request, deadline).await;
        let answer = sent.map_err(|failure| match failure {
            TransportFailure::Away(reason) => CallError::NotDelivered(reason),
            TransportFailure::Late | TransportFailure::Cut => CallError::TimedOut,
            TransportFailure::Nonsense(reason)
            | TransportFailure::AnotherBot(reason)
            | TransportFailure::Upstream(_, reason) => CallError::Invalid(reason),
        })?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, capability));
        }
        Ok(answer)
    }

    /// Reads an answer that decides something: one part that cannot be read makes all of it unreadable.
    fn read<T: DeserializeOwned>(call: &str, answer: &HttpAnswer) -> Result<T, CallError> {
        let read = reading::read_whole::<T>(call, &answer.body, &[])
            .map_err(|why| CallError::Invalid(why.sentence))?;
        match read.unreadable.first() {
            None => Ok(read.value),
            Some(part) => Err(CallError::Invalid(format!("cannot read {part}"))),
        }
    }
}

/// A 4xx or 5xx of the bot: a refusal when it says so in the contract's form.
fn refusal(answer: &HttpAnswer, capability: &str) -> CallError {
    let status = answer.status.as_u16();
    let Ok(mut refusal) = read_json_bytes::<ContractRefusal>(&answer.body) else {
        return CallError::Invalid(format!("status {status} without a refusal in it"));
    };
    sanitise::refusal(&mut refusal);
    CallError::of_refusal(status, refusal, capability)
}
