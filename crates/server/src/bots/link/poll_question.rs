//! One question for the bot's state, and what may come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::bot_link::BotLink;
use crate::bots::exchange::{self, HttpAnswer, TransportFailure};
use crate::bots::sanitise;
use crate::bots::snapshot::DroppedItems;
use crate::bots::transport::BotConnection;
use botops_contract::{BotReport, Hello};

/// What a poll brought.
pub(super) struct PollAnswer {
    pub connection: Arc<BotConnection>,
    pub hello: Arc<Hello>,
    /// `None`: nothing changed since the last answer.
    pub fresh: Option<FreshReport>,
    pub latency: Duration,
}

pub(super) struct FreshReport {
    pub report: Arc<BotReport>,
    pub dropped: DroppedItems,
    pub etag: Option<String>,
    pub bytes: usize,
}

/// One poll: check the address, learn who is there if that is not known, read the state.
pub(super) async fn ask_state(
    link: Arc<BotLink>,
    known: Option<(Arc<BotConnection>, Arc<Hello>)>,
    etag: Option<String>,
) -> Result<PollAnswer, TransportFailure> {
    let started = Instant::now();
    let endpoint = link.options.address.endpoint()?;
    let (connection, hello, etag) = match known.filter(|(connection, _)| connection.is_to(endpoint)) {
        Some((connection, hello)) => (connection, hello, etag),
        None => {
            let connection = Arc::new(link.options.address.connect(endpoint).await?);
            link.record_listener(&connection);
            let hello = ask_hello(&link, &connection).await?;
            (connection, hello, None)
        }
    };
    let Ok(_permit) = link.state_questions.acquire().await else { return Err(TransportFailure::Late) };
    let mut request = connection.poll("state");
    if let Some(etag) = &etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let answer = exchange::read_whole(request).await?;
    if answer.status == StatusCode::NOT_MODIFIED && etag.is_some() {
        return Ok(PollAnswer { connection, hello, fresh: None, latency: started.elapsed() });
    }
    let latency = started.elapsed();
    let mut report: BotReport = parse_answer(&answer)?;
    let dropped = sanitise::report(&mut report);
    let hello =
        if report.boot_epoch == hello.boot_epoch { hello } else { ask_hello(&link, &connection).await? };
    if report.boot_epoch != hello.boot_epoch {
        return Err(TransportFailure::Nonsense("state and hello name different lives".to_owned()));
    }
    let fresh =
        FreshReport { report: Arc::new(report), dropped, etag: answer.etag, bytes: answer.body.len() };
    Ok(PollAnswer { connection, hello, fresh: Some(fresh), latency })
}

async fn ask_hello(link: &BotLink, connection: &BotConnection) -> Result<Arc<Hello>, TransportFailure> {
    let answer = exchange::read_whole(connection.poll("hello")).await?;
    let mut hello: Hello = parse_answer(&answer)?;
    sanitise::hello(&mut hello);
    if hello.bot_id != link.options.id {
        let (found, wanted) = (&hello.bot_id, &link.options.id);
        return Err(TransportFailure::AnotherBot(format!(
            "bot `{found}` answers on the socket of bot `{wanted}`; it is not used"
        )));
    }
    Ok(Arc::new(hello))
}

fn parse_answer<T: DeserializeOwned>(answer: &HttpAnswer) -> Result<T, TransportFailure> {
    if answer.status != StatusCode::OK {
        return Err(TransportFailure::Nonsense(format!("status {}", answer.status.as_u16())));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| TransportFailure::Nonsense(exchange::not_json(&error)))
}
