//! The command line options of Robinhood.

use std::path::Path;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::broker::{PasswordGrant, RobinhoodBroker, RobinhoodSettings};
use crate::broker::adapter::BrokerAdapter;
use crate::broker::http::BrokerAddress;
use crate::broker::token_store::TokenStore;
use crate::command_line::secret;

const API_URL: &str = "https://api.robinhood.com";

/// The command line options of Robinhood.
#[derive(Debug, Clone, Args)]
pub(in crate::broker) struct RobinhoodOptions {
    /// Sign in to Robinhood with name and password when the token cannot be refreshed
    #[arg(long, env = "PAPERBOT_PASSWORD_SIGN_IN", hide_env_values = true)]
    password_sign_in: bool,
    /// One Robinhood account of several
    #[arg(long, env = "ROBINHOOD_ACCOUNT", hide_env_values = true, value_name = "NUMBER", value_parser = secret)]
    robinhood_account: Option<SecretString>,
    #[arg(long, env = "ROBINHOOD_USERNAME", hide = true, hide_env_values = true, value_parser = secret)]
    robinhood_username: Option<SecretString>,
    #[arg(long, env = "ROBINHOOD_PASSWORD", hide = true, hide_env_values = true, value_parser = secret)]
    robinhood_password: Option<SecretString>,
    #[arg(long, env = "MFA_SECRET", hide = true, hide_env_values = true, value_parser = secret)]
    mfa_secret: Option<SecretString>,
    #[arg(long, env = "DEVICE_TOKEN", hide = true, hide_env_values = true, value_parser = secret)]
    device_token: Option<SecretString>,
}

impl RobinhoodOptions {
    pub(in crate::broker) fn connect(
        &self,
        address: &BrokerAddress,
        data: &Path,
    ) -> Result<Box<dyn BrokerAdapter>, String> {
        tracing::warn!(
            "Robinhood's private API has no documentation and no promise; its owner may block it at any time"
        );
        let account_number = self.robinhood_account.as_ref().map(|text| text.expose_secret().to_owned());
        let settings = RobinhoodSettings {
            http: address.http_settings(API_URL),
            account_number,
            store: TokenStore::new(data.join("robinhood-tokens.json")),
            password: self.password_grant()?,
            device_token: self.device_token.clone(),
        };
        match RobinhoodBroker::new(&settings) {
            Ok(broker) => Ok(Box::new(broker)),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(in crate::broker) fn secrets(&self) -> Vec<SecretString> {
        let given = [
            &self.robinhood_username,
            &self.robinhood_password,
            &self.robinhood_account,
            &self.mfa_secret,
            &self.device_token,
        ];
        given.into_iter().flatten().cloned().collect()
    }

    fn password_grant(&self) -> Result<Option<PasswordGrant>, String> {
        if !self.password_sign_in {
            return Ok(None);
        }
        match (self.robinhood_username.clone(), self.robinhood_password.clone()) {
            (Some(username), Some(password)) => {
                let mfa_secret = self.mfa_secret.clone();
                Ok(Some(PasswordGrant { username, password, mfa_secret }))
            }
            _ => Err("--password-sign-in needs ROBINHOOD_USERNAME and ROBINHOOD_PASSWORD".to_owned()),
        }
    }
}
