//! The Robinhood adapter: token grants, the device workflow, and the probe.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::bodies::{
    ResultPage, RobinhoodAccount, TokenGrant, id_for_path, jwt_end, read_grant, refused_read, text_at,
};
use crate::broker::adapter::{BrokerAdapter, BrokerCall};
use crate::broker::error::BrokerError;
use crate::broker::http::{BrokerAnswer, BrokerHttp, BrokerRequest, HttpSettings};
use crate::broker::model::{
    ChallengeKind, ChallengeState, NewSession, ProbeReply, SignInChallenge, SignInMethod, TokenLifetime,
};
use crate::broker::token_store::{TokenPair, TokenStore};
use botops_contract::TradingMode;
use botops_core::redact;

/// Id of the broker's public web client. It is not secret: every open-source client has it.
const CLIENT_ID: &str = "c82SH0WZOsabOXGP2sxqcj34FxkvfnWRZBKlBjFS";

/// Token lifetime in seconds that is requested, as the web client does.
const ASKED_LIFETIME: &str = "86400";

/// User name and password; used only when `--password-sign-in` is given.
#[derive(Debug, Clone)]
pub struct PasswordGrant {
    /// `ROBINHOOD_USERNAME`.
    pub username: SecretString,
    /// `ROBINHOOD_PASSWORD`.
    pub password: SecretString,
    /// `MFA_SECRET`, base32, when an authenticator is set up.
    pub mfa_secret: Option<SecretString>,
}

#[derive(Debug, Clone)]
pub struct RobinhoodSettings {
    pub http: HttpSettings,
    /// Number of one account among several; `None` for the first one.
    pub account_number: Option<String>,
    /// File of the token pair.
    pub store: TokenStore,
    /// The password grant; `None` unless it is switched on.
    pub password: Option<PasswordGrant>,
    /// `DEVICE_TOKEN`, of a device that the account has approved. The token file's device takes precedence.
    pub device_token: Option<SecretString>,
}

/// The adapter for Robinhood's private API.
#[derive(Debug)]
pub struct RobinhoodBroker {
    http: BrokerHttp,
    account_number: Option<String>,
    store: TokenStore,
    password: Option<PasswordGrant>,
    session: Mutex<RobinhoodSession>,
}

#[derive(Debug)]
struct RobinhoodSession {
    tokens: Option<TokenPair>,
    device: SecretString,
    generation: u64,
    /// Whether the pair in memory is newer than the one on disk, because storing it failed.
    unsaved: bool,
    /// Time step of the authenticator code used last: the broker accepts each code once.
    used_totp_step: u64,
    /// The broker's clock minus this machine's.
    skew: TimeDelta,
}

impl RobinhoodBroker {
    /// Loads the stored pair; makes no call to the broker.
    pub fn new(settings: &RobinhoodSettings) -> Result<Self, BrokerError> {
        let http = BrokerHttp::new(&settings.http)?;
        let stored = settings.store.load().map_err(|error| BrokerError::Config {
            what: format!("the token file cannot be used: {error}"),
        })?;
        let given = settings.device_token.clone();
        let device = stored.as_ref().map(|tokens| tokens.device.clone()).or(given);
        let device = device.map_or_else(new_device_token, Ok)?;
        let generation = u64::from(stored.is_some());
        let session = RobinhoodSession {
            tokens: stored,
            device,
            generation,
            unsaved: false,
            used_totp_step: 0,
            skew: TimeDelta::zero(),
        };
        if let Some(number) = &settings.account_number {
            id_for_path(number)?;
        }
        Ok(Self {
            http,
            account_number: settings.account_number.clone(),
            store: settings.store.clone(),
            password: settings.password.clone(),
            session: Mutex::new(session),
        })
    }

    async fn check_account(&self, limit: Duration) -> Result<ProbeReply, BrokerError> {
        let (account, answer, generation) = self.first_account(limit).await?;
        let meta = answer.meta();
        if let Some(skew) = meta.skew {
            self.session().skew = skew;
        }
        let (account, restricted) = (redact::account(account.number()?), account.restriction());
        Ok(ProbeReply { account, restricted, generation, skew: meta.skew, quota_wait: meta.quota_wait })
    }

    /// Signs in by the refresh grant. The new pair is durable before it is used.
    async fn refresh_token(&self) -> Result<NewSession, BrokerError> {
        if self.session().unsaved {
            let tokens = self.session().tokens.clone().ok_or(BrokerError::RefreshSpent)?;
            self.save(tokens).await?;
            let mut session = self.session();
            session.unsaved = false;
            return Ok(NewSession { generation: session.generation, method: "stored_pair" });
        }
        let (refresh, device) = {
            let session = self.session();
            let refresh = session.tokens.as_ref().and_then(|tokens| tokens.refresh.clone());
            (refresh.ok_or(BrokerError::RefreshSpent)?, session.device.clone())
        };
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh.expose_secret()),
            ("scope", "internal"),
            ("client_id", CLIENT_ID),
            ("device_token", device.expose_secret()),
            ("expires_in", ASKED_LIFETIME),
        ];
        let answer = self
            .send(BrokerRequest::new(Method::POST, "/oauth2/token/").form(&fields), None)
            .await?
            .check()?;
        match read_grant(&answer) {
            Ok(grant) => self.adopt(grant, Some(refresh), "refresh", answer.received_at).await,
            Err(BrokerError::RefreshSpent) => self.adopt_stored(&refresh),
            Err(error) => Err(error),
        }
    }

    /// Signs in by the password grant, with a human's code if there is one, else with at most one authenticator code.
    async fn sign_in_with_password(&self, code: Option<&str>) -> Result<NewSession, BrokerError> {
        let refused = BrokerError::CredentialsRejected { hint: "the password sign-in is not switched on" };
        let grant = self.password.clone().ok_or(refused)?;
        let answer = self.ask_with_password(&grant, code).await?;
        let wants_totp = |error: &BrokerError| {
            matches!(error, BrokerError::ChallengeRequired(SignInChallenge { kind: ChallengeKind::Totp, .. }))
        };
        let (found, received_at) = match read_grant(&answer) {
            Err(error) if wants_totp(&error) && code.is_none() => {
                let Some(secret) = &grant.mfa_secret else { return Err(error) };
                let code = self.totp(secret)?;
                let answer = self.ask_with_password(&grant, Some(code.expose_secret())).await?;
                (read_grant(&answer)?, answer.received_at)
            }
            other => (other?, answer.received_at),
        };
        self.adopt(found, None, "password", received_at).await
    }

    /// Opens the device workflow step by step, then asks whether the prompt in the app was answered.
    async fn poll_prompt(&self, challenge: &mut SignInChallenge) -> Result<ChallengeState, BrokerError> {
        let device = self.session().device.clone();
        if challenge.inquiry.is_none() {
            let Some(workflow) = &challenge.workflow else { return Ok(ChallengeState::Pending) };
            let body = json!({
                "device_id": device.expose_secret(), "flow": "suv", "input": {"workflow_id": workflow}
            });
            let answer = self
                .send(BrokerRequest::new(Method::POST, "/pathfinder/user_machine/").json(&body), None)
                .await?;
            challenge.inquiry = Some(text_at(&json_of(answer)?, "/id")?);
        }
        let inquiry = challenge.inquiry.clone().ok_or(BrokerError::Protocol { what: "no inquiry" })?;
        let view = format!("/pathfinder/inquiries/{inquiry}/user_view/");
        if challenge.id.is_none() {
            let seen = json_of(self.send(BrokerRequest::get(view.clone()), None).await?)?;
            let found = ["/context/sheriff_challenge", "/type_context/context/sheriff_challenge"]
                .iter()
                .find_map(|place| seen.pointer(place))
                .ok_or(BrokerError::Protocol { what: "no challenge in the inquiry" })?;
            challenge.id = Some(text_at(found, "/id")?);
            challenge.kind = match found.get("type").and_then(Value::as_str) {
                Some("sms") => ChallengeKind::Sms,
                Some("email") => ChallengeKind::Email,
                _ => ChallengeKind::Device,
            };
        }
        if challenge.kind != ChallengeKind::Device {
            return Ok(ChallengeState::Pending);
        }
        let id = challenge.id.clone().ok_or(BrokerError::Protocol { what: "no challenge" })?;
        let status =
            json_of(self.send(BrokerRequest::get(format!("/push/{id}/get_prompts_status/")), None).await?)?;
        match status.get("challenge_status").and_then(Value::as_str) {
            Some("validated") => self.continue_inquiry(&view).await,
            Some("denied" | "rejected" | "expired" | "failed") => Ok(ChallengeState::Denied),
            _ => Ok(ChallengeState::Pending),
        }
    }

    /// Sends the code that came by message. Without a challenge id the code is sent with the next sign-in.
    async fn send_code(
        &self,
        challenge: &SignInChallenge,
        code: &str,
    ) -> Result<ChallengeState, BrokerError> {
        let Some(id) = &challenge.id else { return Ok(ChallengeState::Approved) };
        let ask =
            BrokerRequest::new(Method::POST, format!("/challenge/{id}/respond/")).form(&[("response", code)]);
        let answer = self.send(ask, None).await?.check()?;
        let body: Value = answer.parse()?;
        if body.get("status").and_then(Value::as_str) != Some("validated") {
            let left = body.pointer("/challenge/remaining_attempts").and_then(Value::as_u64);
            return Ok(if left == Some(0) { ChallengeState::Denied } else { ChallengeState::Pending });
        }
        match &challenge.inquiry {
            Some(inquiry) => {
                self.continue_inquiry(&format!("/pathfinder/inquiries/{inquiry}/user_view/")).await
            }
            None => Ok(ChallengeState::Approved),
        }
    }

    async fn first_account(
        &self,
        limit: Duration,
    ) -> Result<(RobinhoodAccount, BrokerAnswer, u64), BrokerError> {
        let Some(number) = &self.account_number else {
            let (answer, generation) = self.get("/accounts/?default_to_all_accounts=true", limit).await?;
            let page: ResultPage<RobinhoodAccount> = answer.parse()?;
            let first = page.results.into_iter().next();
            let account = first.ok_or(BrokerError::Protocol { what: "no account in the list" })?;
            return Ok((account, answer, generation));
        };
        let (answer, generation) = self.get(&format!("/accounts/{}/", id_for_path(number)?), limit).await?;
        Ok((answer.parse()?, answer, generation))
    }

    /// An authenticated `GET`. It is repeated once after a 401 for a token that was replaced meanwhile.
    async fn get(&self, path: &str, limit: Duration) -> Result<(BrokerAnswer, u64), BrokerError> {
        let first = self.get_once(path, limit).await;
        let Err(BrokerError::SessionInvalid { generation }) = &first else { return first };
        if *generation < self.session().generation { self.get_once(path, limit).await } else { first }
    }

    async fn get_once(&self, path: &str, limit: Duration) -> Result<(BrokerAnswer, u64), BrokerError> {
        let (access, generation) = {
            let session = self.session();
            let access = session.tokens.as_ref().map(|tokens| tokens.access.clone());
            (
                access.ok_or(BrokerError::SessionInvalid { generation: session.generation })?,
                session.generation,
            )
        };
        let answer = self.send(BrokerRequest::get(path).limit(limit), Some(&access)).await?.check()?;
        match answer.status {
            200 => Ok((answer, generation)),
            401 => Err(BrokerError::SessionInvalid { generation }),
            403 => Err(refused_read(&answer, generation)),
            _ => Err(BrokerError::Protocol { what: "a status that the API does not have here" }),
        }
    }

    async fn send(
        &self,
        ask: BrokerRequest,
        access: Option<&SecretString>,
    ) -> Result<BrokerAnswer, BrokerError> {
        let mut ask =
            ask.secret_header("accept", "*/*")?.secret_header("x-robinhood-api-version", "1.431.4")?;
        if let Some(access) = access {
            ask = ask.secret_header("authorization", &format!("Bearer {}", access.expose_secret()))?;
        }
        self.http.send(&ask).await
    }

    async fn ask_with_password(
        &self,
        grant: &PasswordGrant,
        code: Option<&str>,
    ) -> Result<BrokerAnswer, BrokerError> {
        let device = self.session().device.clone();
        let mut fields = vec![
            ("client_id", CLIENT_ID),
            ("grant_type", "password"),
            ("username", grant.username.expose_secret()),
            ("password", grant.password.expose_secret()),
            ("scope", "internal"),
            ("expires_in", ASKED_LIFETIME),
            ("device_token", device.expose_secret()),
            ("try_passkeys", "false"),
            ("token_request_path", "/login"),
            ("create_read_only_secondary_token", "true"),
        ];
        // A code suppresses the push prompt, so it is sent only when there is one.
        if let Some(code) = code {
            fields.push(("mfa_code", code));
        }
        self.send(BrokerRequest::new(Method::POST, "/oauth2/token/").form(&fields), None).await?.check()
    }

    async fn continue_inquiry(&self, view: &str) -> Result<ChallengeState, BrokerError> {
        let body = json!({"sequence": 0, "user_input": {"status": "continue"}});
        let seen = json_of(self.send(BrokerRequest::new(Method::POST, view).json(&body), None).await?)?;
        let result = ["/type_context/result", "/verification_workflow/workflow_status"]
            .iter()
            .find_map(|place| seen.pointer(place)?.as_str());
        Ok(match result {
            Some("workflow_status_approved") => ChallengeState::Approved,
            Some(text) if text.contains("denied") || text.contains("expired") => ChallengeState::Denied,
            _ => ChallengeState::Pending,
        })
    }

    async fn adopt(
        &self,
        grant: TokenGrant,
        old_refresh: Option<SecretString>,
        method: &'static str,
        at: DateTime<Utc>,
    ) -> Result<NewSession, BrokerError> {
        let (device, skew) = {
            let session = self.session();
            (session.device.clone(), session.skew)
        };
        let expires_at = jwt_end(grant.access_token.expose_secret())
            .or_else(|| Some(at + skew + TimeDelta::try_seconds(grant.expires_in?)?));
        let tokens = TokenPair {
            access: grant.access_token,
            refresh: grant.refresh_token.or(old_refresh),
            issued_at: at,
            expires_at,
            device,
        };
        let saved = self.save(tokens.clone()).await;
        let mut session = self.session();
        session.tokens = Some(tokens);
        session.generation += 1;
        session.unsaved = saved.is_err();
        saved?;
        Ok(NewSession { generation: session.generation, method })
    }

    /// Another process may have used our refresh token and stored what it got.
    fn adopt_stored(&self, spent: &SecretString) -> Result<NewSession, BrokerError> {
        let stored = self.store.load().ok().flatten().ok_or(BrokerError::RefreshSpent)?;
        let newer =
            stored.refresh.as_ref().is_some_and(|refresh| refresh.expose_secret() != spent.expose_secret());
        if !newer {
            return Err(BrokerError::RefreshSpent);
        }
        let mut session = self.session();
        session.tokens = Some(stored);
        session.generation += 1;
        Ok(NewSession { generation: session.generation, method: "stored_pair" })
    }

    async fn save(&self, tokens: TokenPair) -> Result<(), BrokerError> {
        let store = self.store.clone();
        // Runs to its end even when this future is dropped: a token pair that is not stored is lost.
        let saved = tokio::task::spawn_blocking(move || store.save(&tokens)).await;
        match saved {
            Ok(Ok(())) => Ok(()),
            _ => Err(BrokerError::TokenStore),
        }
    }

    /// The earliest authenticator code that was not used yet: that of a later time step when the current one was used.
    fn totp(&self, secret: &SecretString) -> Result<SecretString, BrokerError> {
        let bad = |_| BrokerError::Config { what: "MFA_SECRET is not base32".to_owned() };
        let secret = totp_rs::Secret::try_from_base32(secret.expose_secret()).map_err(bad)?;
        let totp = totp_rs::Builder::new().with_secret(secret).build_noncompliant();
        let mut session = self.session();
        let seconds = u64::try_from((Utc::now() + session.skew).timestamp()).unwrap_or_default();
        let step = (seconds / 30).max(session.used_totp_step + 1);
        session.used_totp_step = step;
        Ok(totp.generate(step * 30).to_string().into())
    }

    fn session(&self) -> MutexGuard<'_, RobinhoodSession> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BrokerAdapter for RobinhoodBroker {
    fn name(&self) -> &'static str {
        "robinhood"
    }

    fn mode(&self) -> TradingMode {
        TradingMode::Live
    }

    fn generation(&self) -> u64 {
        self.session().generation
    }

    /// `expires_at` is stored by the broker's clock and returned by this machine's.
    fn token_lifetime(&self) -> Option<TokenLifetime> {
        let session = self.session();
        let tokens = session.tokens.as_ref()?;
        Some(TokenLifetime { issued_at: tokens.issued_at, expires_at: tokens.expires_at? - session.skew })
    }

    fn probe(&self, limit: Duration) -> BrokerCall<'_, ProbeReply> {
        self.check_account(limit).boxed()
    }

    fn credentials_file(&self) -> Option<&Path> {
        Some(self.store.path())
    }

    fn offers(&self, method: SignInMethod) -> bool {
        let session = self.session();
        match method {
            SignInMethod::Refresh => {
                session.unsaved || session.tokens.as_ref().is_some_and(|tokens| tokens.refresh.is_some())
            }
            SignInMethod::Password => self.password.is_some(),
        }
    }

    fn sign_in<'a>(
        &'a self,
        method: SignInMethod,
        _operator: bool,
        code: Option<&'a str>,
    ) -> BrokerCall<'a, NewSession> {
        match method {
            SignInMethod::Refresh => self.refresh_token().boxed(),
            SignInMethod::Password => self.sign_in_with_password(code).boxed(),
        }
    }

    fn poll_challenge<'a>(&'a self, challenge: &'a mut SignInChallenge) -> BrokerCall<'a, ChallengeState> {
        self.poll_prompt(challenge).boxed()
    }

    fn answer_challenge<'a>(
        &'a self,
        challenge: &'a SignInChallenge,
        code: &'a str,
    ) -> BrokerCall<'a, ChallengeState> {
        self.send_code(challenge, code).boxed()
    }
}

/// Sixteen random bytes in the form of a UUID, as the web client sends them.
fn new_device_token() -> Result<SecretString, BrokerError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| BrokerError::Config { what: "the machine has no random numbers".to_owned() })?;
    Ok(uuid::Builder::from_bytes(bytes).into_uuid().hyphenated().to_string().into())
}

fn json_of(answer: BrokerAnswer) -> Result<Value, BrokerError> {
    let answer = answer.check()?;
    match answer.status {
        200 | 201 => answer.parse(),
        _ => Err(BrokerError::Protocol { what: "a status that the API does not have here" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_token_looks_like_the_web_clients() {
        let token = new_device_token().unwrap();
        let groups: Vec<usize> = token.expose_secret().split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
    }
}
