//! What `init` needs of freqtrade's config files: where its API listens, and who may use it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::config_json::read_config_json;
use crate::options::UpstreamAddress;

/// freqtrade's own bound is ten files; more is a circle.
const FILES_MAX: usize = 20;

/// The longest name of a host.
const LONGEST_HOST: usize = 253;

/// The API as freqtrade's config describes it.
#[derive(Debug)]
pub(super) struct ConfiguredApi {
    /// Where it is reached from this machine, such as `http://127.0.0.1:8080`.
    pub url: String,
    pub port: u16,
    pub username: String,
    pub password: SecretString,
    /// `dry_run`; `None` where the files do not say.
    pub dry_run: Option<bool>,
    /// `initial_state`; freqtrade's default is `stopped`.
    pub initial_state: Option<String>,
}

/// The config of these files, laid over each other as freqtrade does: a later file wins, and a file wins over those that
/// its own `add_config_files` names.
///
/// # Errors
/// The file, and what is wrong with it. Nothing of a file's content is quoted.
pub(super) fn read_config_files(files: &[PathBuf]) -> Result<Value, String> {
    let mut budget = FILES_MAX;
    let mut whole = Map::new();
    for file in files {
        lay_over(&mut whole, read_with_added(file, &mut budget)?);
    }
    Ok(Value::Object(whole))
}

fn read_with_added(file: &Path, budget: &mut usize) -> Result<Map<String, Value>, String> {
    let at = |problem: String| format!("{}: {problem}", file.display());
    *budget = budget
        .checked_sub(1)
        .ok_or_else(|| at(format!("`add_config_files` leads to more than {FILES_MAX} files")))?;
    let text = fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    let Value::Object(own) = read_config_json(&text).map_err(at)? else {
        return Err(at("it is not a JSON object".to_owned()));
    };
    let added = own.get("add_config_files").and_then(Value::as_array).cloned().unwrap_or_default();
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut whole = Map::new();
    for name in added.iter().filter_map(Value::as_str) {
        lay_over(&mut whole, read_with_added(&folder.join(name), budget)?);
    }
    lay_over(&mut whole, own);
    Ok(whole)
}

fn lay_over(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (base.get_mut(&name), value) {
            (Some(Value::Object(below)), Value::Object(above)) => lay_over(below, above),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
}

impl ConfiguredApi {
    /// The API that a config describes.
    ///
    /// # Errors
    /// What is missing and the lines that add it. No value of the config is quoted.
    pub(super) fn of(config: &Value) -> Result<Self, String> {
        let api = config.get("api_server").filter(|api| api.is_object()).unwrap_or(&Value::Null);
        if api.get("enabled").and_then(Value::as_bool) != Some(true) {
            return Err(format!("freqtrade's API is not enabled. {}", lines_to_add()));
        }
        let text = |name: &str| {
            api.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| {
                format!(
                    "`api_server` has no `{name}` in these files. Where freqtrade gets it from the environment, write the \
                     credentials file by hand (docs/freqtrade.md); else {}",
                    lines_to_add()
                )
            })
        };
        let port = api.get("listen_port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let port = port.ok_or_else(|| format!("`api_server.listen_port` is missing. {}", lines_to_add()))?;
        let listens = api.get("listen_ip_address").and_then(Value::as_str).unwrap_or("127.0.0.1");
        let host = match listens {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" | "[::]" => "[::1]".to_owned(),
            address if address.contains(':') && !address.starts_with('[') => format!("[{address}]"),
            address => address.to_owned(),
        };
        Ok(Self {
            url: checked_url(&host, port).ok_or_else(|| {
                format!(
                    "`api_server.listen_ip_address` is neither an address nor the name of a host. {}",
                    lines_to_add()
                )
            })?,
            port,
            username: text("username")?.to_owned(),
            password: text("password")?.into(),
            dry_run: config.get("dry_run").and_then(Value::as_bool),
            initial_state: config.get("initial_state").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// The URL of freqtrade's API on a host; nothing where that is no address and no name. It goes into units that root runs.
pub(super) fn checked_url(host: &str, port: u16) -> Option<String> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = inner.unwrap_or(host).parse::<IpAddr>().is_ok();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !is_address && (host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(is_name)) {
        return None;
    }
    let url = format!("http://{host}:{port}");
    url.parse::<UpstreamAddress>().is_ok().then_some(url)
}

fn lines_to_add() -> &'static str {
    "Add to the config, with a password and a key of your own, and restart freqtrade:\n\
     \"api_server\": {\n    \"enabled\": true,\n    \"listen_ip_address\": \"127.0.0.1\",\n    \"listen_port\": 8080,\n    \
     \"username\": \"botops\",\n    \"password\": \"<a long random password>\",\n    \
     \"jwt_secret_key\": \"<another long random text>\"\n}"
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use serde_json::json;

    fn config(changes: &Value) -> Value {
        let mut api = json!({"enabled": true, "listen_ip_address": "127.0.0.1", "listen_port": 8080, "username": "u",
            "password": "canary"});
        for (name, value) in changes.as_object().unwrap() {
            api[name] = value.clone();
        }
        json!({"dry_run": true, "api_server": api})
    }

    #[track_caller]
    fn url_of(changes: &Value, url: &str) {
        assert_eq!(ConfiguredApi::of(&config(changes)).unwrap().url, url);
    }

    #[test]
    fn the_address_is_where_it_is_reached_from_here() {
        url_of(&json!({}), "http://127.0.0.1:8080");
        url_of(&json!({"listen_ip_address": "0.0.0.0", "listen_port": 8081}), "http://127.0.0.1:8081");
        url_of(&json!({"listen_ip_address": "::"}), "http://[::1]:8080");
        url_of(&json!({"listen_ip_address": "fd00::2"}), "http://[fd00::2]:8080");
        url_of(&json!({"listen_ip_address": "192.168.1.4"}), "http://192.168.1.4:8080");
    }

    #[test]
    fn what_is_no_address_and_no_name_is_refused_unquoted() {
        for host in [
            "127.0.0.1\nExecStartPre=/bin/canary",
            "",
            "a b",
            "canary/x",
            "u:canary@h",
            "a\"b",
            "\u{1b}[31m",
            "h?canary",
        ] {
            let refused = ConfiguredApi::of(&config(&json!({"listen_ip_address": host}))).unwrap_err();
            assert!(
                refused.contains("`api_server.listen_ip_address`") && !refused.contains("canary"),
                "{refused}"
            );
        }
        url_of(&json!({"listen_ip_address": "freqtrade_one.local"}), "http://freqtrade_one.local:8080");
    }

    #[test]
    fn without_an_api_the_lines_to_add_are_said_and_no_secret() {
        for changes in [
            json!({"enabled": false}),
            json!({"enabled": "yes"}),
            json!({"listen_port": null}),
            json!({"username": null}),
            json!({"password": ""}),
        ] {
            let refused = ConfiguredApi::of(&config(&changes)).unwrap_err();
            assert!(refused.contains("\"enabled\": true") && !refused.contains("canary"), "{refused}");
        }
        assert!(ConfiguredApi::of(&json!({})).unwrap_err().contains("not enabled"));
    }

    #[test]
    fn files_lie_over_each_other_as_freqtrade_lays_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "secrets.json",
            r#"{"api_server": {"password": "canary", "listen_port": 1}, "dry_run": false}"#,
        );
        write(
            "base.json",
            r#"{"add_config_files": ["secrets.json"], "dry_run": true, // a note
                "api_server": {"enabled": true, "listen_port": 8080, "username": "u",},}"#,
        );
        write("last.json", r#"{"api_server": {"listen_port": 8085}}"#);
        let files = [folder.path().join("base.json"), folder.path().join("last.json")];
        let api = ConfiguredApi::of(&read_config_files(&files).unwrap()).unwrap();
        assert_eq!((api.port, api.dry_run, api.password.expose_secret()), (8085, Some(true), "canary"));
        write("circle.json", r#"{"add_config_files": ["circle.json"]}"#);
        assert!(read_config_files(&[folder.path().join("circle.json")]).unwrap_err().contains("20 files"));
        assert!(read_config_files(&[folder.path().join("none.json")]).unwrap_err().contains("none.json"));
    }
}
