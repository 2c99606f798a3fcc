//! Calls to the broker on behalf of the trading loop: reads that survive a new token, and orders sent once.
//!
//! A read whose token was refused waits for the one sign-in and is repeated once. An order asks the gate, goes out
//! once, and when nobody knows what became of it, it is looked up by its client id; it goes out a second time only
//! when the broker refused the token and then says that it has no such order. Deliberately absent: blind repeats.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::{Decision, Intent, SessionMonitor};
use crate::broker::{BrokerError, OrderIntent, Reply};
use botops_contract::{Account, Order, Position, SessionPhase};
use botops_core::error::Code;

/// Waits before the looks for an order whose outcome is unknown.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(750), Duration::from_secs(2)];

/// Why an order was not placed, or what is not known about it.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitError {
    /// The gate said no; nothing was sent.
    Denied(Decision),
    /// The broker said no, or was never reached; no order exists.
    Failed(BrokerError),
    /// Nobody knows. The order must not be sent again; look it up by this id later.
    Unknown {
        /// The client id.
        client_order_id: String,
    },
}

impl SubmitError {
    /// The row of the catalogue that says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Denied(_) => Code::BrokerSessionInvalid,
            Self::Failed(error) => error.code(),
            Self::Unknown { .. } => Code::BrokerOrderUnknown,
        }
    }
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(decision) => write!(f, "the gate refused the order ({:?})", decision.reason),
            Self::Failed(error) => error.fmt(f),
            Self::Unknown { client_order_id } => {
                write!(f, "the outcome of order {client_order_id} is not known")
            }
        }
    }
}

impl std::error::Error for SubmitError {}

impl SessionMonitor {
    /// Money in the account.
    pub async fn account(&self) -> Result<Account, BrokerError> {
        self.read(|| self.inner.broker.account().boxed()).await
    }

    /// Open positions.
    pub async fn positions(&self) -> Result<Vec<Position>, BrokerError> {
        self.read(|| self.inner.broker.positions().boxed()).await
    }

    /// Resting orders.
    pub async fn open_orders(&self) -> Result<Vec<Order>, BrokerError> {
        self.read(|| self.inner.broker.open_orders().boxed()).await
    }

    /// The order with this client id, if the broker has it.
    pub async fn order_by_client_id<'a>(&'a self, id: &'a str) -> Result<Option<Order>, BrokerError> {
        self.read(|| self.inner.broker.order_by_client_id(id).boxed()).await
    }

    /// Cancels an order; allowed in every state, since it adds no exposure.
    pub async fn cancel<'a>(&'a self, id: &'a str) -> Result<(), BrokerError> {
        self.read(|| self.inner.broker.cancel(id).boxed()).await
    }

    /// Asks the gate and sends the order once.
    pub async fn submit(&self, intent: &OrderIntent, reducing: bool) -> Result<Order, SubmitError> {
        let decision = self.gate(Intent { reducing, symbol: &intent.symbol }).await;
        if !decision.allowed {
            return Err(SubmitError::Denied(decision));
        }
        let error = match self.send(intent).await {
            Ok(order) => return Ok(order),
            Err(error) => error,
        };
        if !error.leaves_order_unknown() {
            return Err(SubmitError::Failed(error));
        }
        let unknown = || SubmitError::Unknown { client_order_id: intent.client_order_id.clone() };
        if let BrokerError::SessionInvalid { generation } = &error {
            if !self.wait_for_sign_in(*generation).await {
                return Err(unknown());
            }
            return match self.order_by_client_id(&intent.client_order_id).await {
                Ok(Some(order)) => Ok(order),
                // Refused for its token and not there: the one case where sending again is safe.
                Ok(None) => self.send(intent).await.map_err(|error| {
                    if error.leaves_order_unknown() { unknown() } else { SubmitError::Failed(error) }
                }),
                Err(_) => Err(unknown()),
            };
        }
        for wait in LOOKS {
            sleep(wait).await;
            if let Ok(Some(order)) = self.order_by_client_id(&intent.client_order_id).await {
                return Ok(order);
            }
        }
        Err(unknown())
    }

    async fn send(&self, intent: &OrderIntent) -> Result<Order, BrokerError> {
        match self.inner.broker.submit(intent).await {
            Ok(reply) => {
                self.evidence_ok(reply.meta.generation);
                Ok(reply.value)
            }
            Err(error) => {
                self.evidence_error(&error);
                Err(error)
            }
        }
    }

    /// An authenticated read. A refused token is replaced once, by whoever comes first, and the read repeated once.
    async fn read<'a, T>(
        &'a self,
        call: impl Fn() -> BoxFuture<'a, Result<Reply<T>, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let first = call().await;
        let reply = match first {
            Err(BrokerError::SessionInvalid { generation }) => {
                self.evidence_error(&BrokerError::SessionInvalid { generation });
                if !self.wait_for_sign_in(generation).await {
                    return Err(BrokerError::SessionInvalid { generation });
                }
                call().await
            }
            other => other,
        };
        match reply {
            Ok(reply) => {
                self.evidence_ok(reply.meta.generation);
                Ok(reply.value)
            }
            Err(error) => {
                self.evidence_error(&error);
                Err(error)
            }
        }
    }

    /// Waits until a token newer than `generation` is in use. False when none will come soon.
    async fn wait_for_sign_in(&self, generation: u64) -> bool {
        let mut changed = self.inner.version.subscribe();
        let newer = async {
            loop {
                let (current, phase, awaiting) = {
                    let machine = self.inner.machine();
                    (machine.generation, machine.phase, machine.awaiting.is_some())
                };
                if current > generation && phase == SessionPhase::Healthy {
                    return true;
                }
                if phase != SessionPhase::Reauthenticating || awaiting {
                    return current > generation;
                }
                if changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        timeout(self.inner.settings.limits.reauth, newer).await.unwrap_or(false)
    }
}
