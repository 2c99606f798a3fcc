//! The command line of the adapter. Doc comments of the fields are the help text.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use botops_contract::BotId;
use botops_core::duration::parse_duration;
use clap::Args;
use reqwest::Url;

/// How the adapter is started.
#[derive(Debug, Clone, Args)]
pub struct FreqtradeOptions {
    /// Where freqtrade's API answers, such as `http://127.0.0.1:8080`
    #[arg(long, value_name = "URL")]
    pub url: UpstreamAddress,
    /// Where the contract is served; what botops gets as `BOT_IPC_SOCKET`
    #[arg(long, value_name = "FILE")]
    pub socket: PathBuf,
    /// A file with the lines `username=` and `password=` of freqtrade's `api_server` (or `token=` alone), readable by
    /// its owner alone
    #[arg(long, value_name = "FILE")]
    pub credentials: PathBuf,
    /// The folder of the adapter's own journals and logs
    #[arg(long, default_value = "botops-freqtrade", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The bot's id, which botops gets as `BOT_ID`; two freqtrades need two
    #[arg(long, default_value = "freqtrade")]
    pub bot_id: BotId,
    /// How often the open trades are read, from 200ms to 5s
    #[arg(long, default_value = "3s", value_parser = poll_interval, value_name = "TIME")]
    pub poll_interval: Duration,
}

impl FreqtradeOptions {
    /// The folder of the adapter's own log.
    pub(crate) fn log_folder(&self) -> PathBuf {
        self.data_dir.join("logs")
    }
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(200)..=Duration::from_secs(5);
    parse_duration(text)
        .filter(|interval| allowed.contains(interval))
        .ok_or_else(|| "use a time from 200ms to 5s".to_owned())
}

/// The base of freqtrade's API, up to and including `/api/v1/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAddress(Url);

impl UpstreamAddress {
    /// The URL of a path below the base, such as `ping`.
    pub(crate) fn join(&self, path: &str) -> Option<Url> {
        self.0.join(path).ok()
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Whether freqtrade answers on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Host and port, for people.
    pub(crate) fn place(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl FromStr for UpstreamAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut url = Url::parse(text).map_err(|_| "it is no URL; use one such as http://127.0.0.1:8080")?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err("it has to begin with http:// or https:// and name a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it carries credentials; put them into the file of --credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it carries a query; leave that out".to_owned());
        }
        let path = url.path().trim_end_matches('/');
        let base = format!("{}/api/v1/", path.strip_suffix("/api/v1").unwrap_or(path));
        url.set_path(&base);
        Ok(Self(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ping: Option<&str>) {
        let address = text.parse::<UpstreamAddress>().ok();
        assert_eq!(
            address.and_then(|address| address.join("ping")).as_ref().map(Url::as_str),
            ping,
            "{text}"
        );
    }

    #[test]
    fn the_base_is_found_however_the_address_is_written() {
        for text in ["http://127.0.0.1:8080", "http://127.0.0.1:8080/", "http://127.0.0.1:8080/api/v1/"] {
            check(text, Some("http://127.0.0.1:8080/api/v1/ping"));
        }
        check("https://bots.example/one", Some("https://bots.example/one/api/v1/ping"));
    }

    #[test]
    fn an_address_with_a_secret_or_of_another_kind_is_refused() {
        for text in ["ftp://host", "host:80", "http://user:word@host", "http://host/?token=a", "unix:/a", ""]
        {
            check(text, None);
        }
    }
}
