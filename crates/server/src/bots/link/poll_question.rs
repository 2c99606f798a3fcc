//! One question for the bot's state, and what may come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bot_link::BotLink;
use crate::bots::exchange::{self, HttpAnswer, TransportFailure, UpstreamFault};
use crate::bots::reading::{self, TolerantAnswer, UnreadablePart};
use crate::bots::sanitise;
use crate::bots::snapshot::DroppedItems;
use crate::bots::transport::{self, BotConnection, BotEndpoint};
use botops_contract::{BotReport, ContractRefusal, Hello};
use botops_core::object_reader::read_json_bytes;
use reqwest::{RequestBuilder, StatusCode, header};

pub(super) const STATE_CALL: &str = "GET state";
pub(super) const HELLO_CALL: &str = "GET hello";

/// What a poll brought.
pub(super) struct PollAnswer {
    pub connection: Arc<BotConnection>,
    pub hello: Arc<Hello>,
    /// What could not be read of `hello`, when it was asked anew.
    pub hello_unreadable: Option<Vec<UnreadablePart>>,
    /// `None`: nothing changed since the last answer.
    pub fresh: Option<FreshReport>,
    pub latency: Duration,
}

pub(super) struct FreshReport {
    pub report: Arc<BotReport>,
    pub dropped: DroppedItems,
    pub unreadable: Vec<UnreadablePart>,
    pub unreadable_more: usize,
    pub etag: Option<String>,
    pub bytes: usize,
}

/// A connection whose peer was checked, and who it said it is.
type KnownPeer = (Arc<BotConnection>, Arc<Hello>);

/// One poll: check the address, learn who is there if that is not known, read the state.
pub(super) async fn ask_state(
    link: Arc<BotLink>,
    known: Option<KnownPeer>,
    etag: Option<String>,
) -> Result<PollAnswer, TransportFailure> {
    let started = Instant::now();
    let (connection, answered, etag) = match still_known(&link, known)? {
        Ok((connection, hello)) => (connection, HelloAnswer { hello, unreadable: None }, etag),
        Err(endpoint) => {
            let connection = Arc::new(transport::connect(&link.options.address, endpoint).await?);
            link.record_listener(&connection);
            let answered = ask_hello(&link, &connection).await?;
            (connection, answered, None)
        }
    };
    let Ok(_permit) = link.state_questions.acquire().await else { return Err(TransportFailure::Late) };
    let mut request = connection.poll("state");
    if let Some(etag) = &etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let asked_hello = answered.unreadable.is_some();
    let answer = read_answer(&link, request).await.map_err(|failure| match failure {
        // It said who it is a moment ago, over the same connection: it is there.
        TransportFailure::Cut if asked_hello => TransportFailure::Nonsense(
            "it answers `hello`, and closes the connection without an answer to `state`".to_owned(),
        ),
        failure => failure,
    })?;
    if answer.status == StatusCode::NOT_MODIFIED && etag.is_some() {
        let HelloAnswer { hello, unreadable } = answered;
        let latency = started.elapsed();
        return Ok(PollAnswer { connection, hello, hello_unreadable: unreadable, fresh: None, latency });
    }
    let latency = started.elapsed();
    check_status(&answer)?;
    let read = reading::read_parts::<BotReport>(STATE_CALL, &answer.body, &BotReport::REQUIRED);
    let TolerantAnswer { value: mut report, mut unreadable, unreadable_more, lost_items } =
        read.map_err(|why| TransportFailure::Nonsense(why.sentence))?;
    if report == BotReport::default() {
        let said = "nothing in the answer to `GET state` is of the contract".to_owned();
        return Err(TransportFailure::Nonsense(said));
    }
    let lost = |list: &str| lost_items.get(list).copied().unwrap_or_default();
    let dropped = DroppedItems {
        unread_positions: lost("positions"),
        unread_orders: lost("orders"),
        ..sanitise::report(&mut report, &mut unreadable)
    };
    let agree = |hello: &Hello| match (&report.boot_epoch, &hello.boot_epoch) {
        (Some(of_state), Some(of_hello)) => of_state == of_hello,
        _ => true,
    };
    // A start that the bot did not know before: whoever learns it learns the process as well.
    let before = link.snapshot.load().report.as_ref().and_then(|report| report.boot_epoch.clone());
    let is_learnt =
        answered.hello.boot_epoch.is_none() && report.boot_epoch.is_some() && report.boot_epoch != before;
    let is_known = agree(&answered.hello) && !is_learnt;
    let answered = if is_known { answered } else { ask_hello(&link, &connection).await? };
    if !agree(&answered.hello) {
        let named = report.boot_epoch.take().unwrap_or_default();
        let expected = "the boot epoch that `hello` names";
        unreadable.push(UnreadablePart::new(STATE_CALL, "/boot_epoch", &named, expected));
    }
    let fresh = FreshReport {
        report: Arc::new(report),
        dropped,
        unreadable,
        unreadable_more,
        etag: answer.etag,
        bytes: answer.body.len(),
    };
    let HelloAnswer { hello, unreadable } = answered;
    Ok(PollAnswer { connection, hello, hello_unreadable: unreadable, fresh: Some(fresh), latency })
}

/// What is known of the bot, while the same process answers at its address; otherwise what lies there now.
fn still_known(
    link: &BotLink,
    known: Option<KnownPeer>,
) -> Result<Result<KnownPeer, BotEndpoint>, TransportFailure> {
    match known {
        Some(known) if known.0.still_listens() => Ok(Ok(known)),
        known => {
            let endpoint = link.options.address.endpoint()?;
            Ok(known.filter(|(connection, _)| connection.is_to(endpoint)).ok_or(endpoint))
        }
    }
}

/// The whole answer to a question. That one begins is a sign of life already, however long the rest of it takes.
async fn read_answer(link: &BotLink, request: RequestBuilder) -> Result<HttpAnswer, TransportFailure> {
    let response = exchange::send(request).await?;
    link.record_contact();
    exchange::read_body(response).await
}

struct HelloAnswer {
    hello: Arc<Hello>,
    /// `None`: it was known already.
    unreadable: Option<Vec<UnreadablePart>>,
}

async fn ask_hello(link: &BotLink, connection: &BotConnection) -> Result<HelloAnswer, TransportFailure> {
    let answer = read_answer(link, connection.poll("hello")).await?;
    check_status(&answer)?;
    let read = reading::read_whole::<Hello>(HELLO_CALL, &answer.body, &Hello::REQUIRED);
    let TolerantAnswer { value: mut hello, unreadable, .. } =
        read.map_err(|why| TransportFailure::Nonsense(why.sentence))?;
    sanitise::hello(&mut hello);
    if hello.bot_id != link.options.id {
        let (found, wanted) = (&hello.bot_id, &link.options.id);
        return Err(TransportFailure::AnotherBot(format!(
            "bot `{found}` answers where bot `{wanted}` should; it is not used"
        )));
    }
    link.record_hello();
    Ok(HelloAnswer { hello: Arc::new(hello), unreadable: Some(unreadable) })
}

/// An answer other than 200 is none of the contract, unless an adapter says by it that its bot does not answer.
fn check_status(answer: &HttpAnswer) -> Result<(), TransportFailure> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let status = answer.status.as_u16();
    if answer.status == StatusCode::UNAUTHORIZED {
        let said = "it refuses the token that botops sends (status 401): BOT_IPC_TOKEN_FILE has to hold the bot's own";
        return Err(TransportFailure::Nonsense(said.to_owned()));
    }
    let Ok(mut refusal) = read_json_bytes::<ContractRefusal>(&answer.body) else {
        return Err(TransportFailure::Nonsense(format!("status {status}")));
    };
    sanitise::refusal(&mut refusal);
    let (code, message) = (&refusal.code, &refusal.message);
    match UpstreamFault::of_code(code) {
        Some(fault) => {
            let said = format!("the adapter says that the bot does not answer it ({code}): {message}");
            Err(TransportFailure::Upstream(fault, said))
        }
        None => Err(TransportFailure::Nonsense(format!("status {status}, {code}: {message}"))),
    }
}
