//! The address of freqtrade's WebSocket. It takes its token in the URL alone, so the URL is a secret and is never shown.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::client::FreqtradeClient;
use super::failure::UpstreamFailure;
use crate::credentials::{UpstreamCredentials, UpstreamProof};

/// A token is made from memory.
const LOGIN_LIMIT: Duration = Duration::from_secs(3);

/// The URL for one connection, with a token that is known or asked for now.
///
/// # Errors
/// Why no token was given; `Unreadable` where the connection would be encrypted, which this one cannot be.
pub(crate) async fn websocket_request(
    client: &FreqtradeClient,
    credentials: &UpstreamCredentials,
) -> Result<SecretString, UpstreamFailure> {
    if client.address().is_encrypted() {
        return Err(UpstreamFailure::Unreadable("no WebSocket over TLS here".to_owned()));
    }
    let token = match (&credentials.websocket_token, &credentials.proof) {
        (Some(token), _) | (None, UpstreamProof::Token(token)) => token.clone(),
        (None, UpstreamProof::Password { .. }) => ask_token(client).await?,
    };
    let mut url = client
        .address()
        .join("message/ws")
        .ok_or_else(|| UpstreamFailure::Unreadable("no such path".to_owned()))?;
    url.query_pairs_mut().append_pair("token", token.expose_secret());
    Ok(SecretString::from(format!("ws{}", url.as_str().strip_prefix("http").unwrap_or_default())))
}

async fn ask_token(client: &FreqtradeClient) -> Result<SecretString, UpstreamFailure> {
    let answer = client.send(Method::POST, "token/login", None, LOGIN_LIMIT).await?;
    let said: Value = answer.parse()?;
    let token = said["access_token"].as_str().map(|token| SecretString::from(token.to_owned()));
    token.ok_or_else(|| UpstreamFailure::Unreadable("no token in the answer to the login".to_owned()))
}
