//! A link to a bot without the rest of botops.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_contract::{BotId, EventKind};
use botops_core::tasks::Tasks;
use botops_server::bots::{
    BotAddress, BotSnapshot, Bots, BotsOptions, Presence, Supervisor, SupervisorDriver,
};
use botops_server::change_keys::ChangeKeys;
use botops_server::events::{Event, EventFilter, Events};
use botops_server::store::Store;

/// How often the bot is asked.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);

/// Time until presence has to show a fault.
///
/// Only time in which this process gets a processor counts: the rest is not the link's fault.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(6);
/// Time until a recovered bot has to be seen; counted in the same way.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(2);

/// The length of one step of a wait. When a step takes more than twice that, this process got no processor.
const LOOK: Duration = Duration::from_millis(50);

/// The parts of botops that the link needs, for one start.
pub(crate) struct RunningLink {
    pub bots: Bots,
    pub events: Events,
    pub store: Store,
    pub tasks: Tasks,
}

impl RunningLink {
    /// Follows the bot on this socket.
    pub(crate) async fn begin(data: &Path, id: BotId, socket: &Path) -> Self {
        Self::begin_at(data, id, BotAddress::unix_socket(socket)).await
    }

    /// Follows the bot at this address.
    pub(crate) async fn begin_at(data: &Path, id: BotId, address: BotAddress) -> Self {
        let store = Store::open(&data.join("ops.db")).unwrap();
        let events = Events::open(store.clone()).await.unwrap();
        let keys = ChangeKeys::open(store.clone()).await.unwrap();
        let tasks = Tasks::new();
        let supervisor = Supervisor::new(SupervisorDriver::None, data, BTreeMap::new());
        let options = BotsOptions { id, address, poll_interval: INTERVAL, supervisor };
        let bots = Bots::open(options, store.clone(), events.clone(), keys, &tasks).await.unwrap();
        Self { bots, events, store, tasks }
    }

    pub(crate) async fn end(self) {
        assert!(self.tasks.finish(Duration::from_secs(5)).await, "the tasks end when told");
        self.store.flush().await;
    }

    /// Waits until the snapshot fulfils the condition.
    #[track_caller]
    pub(crate) fn sees(
        &self,
        what: &str,
        limit: Duration,
        condition: impl Fn(&BotSnapshot) -> bool + Send + 'static,
    ) -> impl Future<Output = Arc<BotSnapshot>> {
        let mut watch = self.bots.watch();
        let what = what.to_owned();
        async move {
            let mut left = limit;
            loop {
                let looked = Instant::now();
                let seen = tokio::time::timeout(LOOK, watch.wait_for(|seen| condition(seen))).await;
                let seen = seen.map(|seen| seen.expect("the link lives").clone());
                if let Ok(seen) = seen {
                    return seen;
                }
                left = left.saturating_sub(looked.elapsed().min(LOOK * 2));
                if left.is_zero() {
                    let last = watch.borrow();
                    panic!("{what}: not within {limit:?}; {} because {}", last.presence, last.presence_reason)
                }
            }
        }
    }

    pub(crate) async fn is(&self, presence: Presence, limit: Duration) -> Arc<BotSnapshot> {
        self.sees(presence.as_str(), limit, move |seen| seen.presence == presence).await
    }

    pub(crate) async fn journal(&self, kind: EventKind) -> Vec<Arc<Event>> {
        self.events.since(0, &EventFilter::kind(kind), 1000).await.unwrap().items
    }

    pub(crate) async fn journal_has(
        &self,
        what: &str,
        kind: EventKind,
        condition: impl Fn(&Event) -> bool,
    ) -> Arc<Event> {
        let mut left = TOLD_WITHIN;
        loop {
            let looked = Instant::now();
            if let Some(event) = self.journal(kind).await.into_iter().find(|event| condition(event)) {
                return event;
            }
            assert!(!left.is_zero(), "the journal has no event: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            left = left.saturating_sub(looked.elapsed().min(LOOK * 2));
        }
    }
}
