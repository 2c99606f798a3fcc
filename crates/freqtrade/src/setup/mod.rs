//! `botops freqtrade init`: from freqtrade's own config to the files that start the adapter and botops beside it.
//!
//! freqtrade's files are read and never written. A secret goes into files that only their owner may read, and is neither
//! printed nor part of a unit.

mod config_json;
mod freqtrade_config;
mod setup_files;

use std::path::{Path, PathBuf};

use botops_contract::BotId;
use botops_core::setup_files::{SetupFile, SetupProblem, write_files};
use botops_core::text::clean;
use clap::Args;
use secrecy::SecretString;

use freqtrade_config::{ConfiguredApi, read_config_files};
use setup_files::{IN_CONTAINER, SetupFacts};

/// The longest path of a Unix socket.
const LONGEST_SOCKET: usize = 107;

/// The longest path that is printed whole.
const LONGEST_SHOWN: usize = 200;

/// What `botops freqtrade init` is told.
#[derive(Debug, Clone, Args)]
pub struct FreqtradeSetupOptions {
    /// freqtrade's config, as freqtrade itself is given it; more than once where freqtrade has more than one
    #[arg(long, required = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// The folder for credentials, settings, units and journals; made when it is missing
    #[arg(long, default_value = "botops-freqtrade", value_name = "DIR")]
    output: PathBuf,
    /// The bot's id; two freqtrades need two
    #[arg(long, default_value = "freqtrade")]
    bot_id: BotId,
    /// Write a compose file in the place of units of systemd
    #[arg(long)]
    compose: bool,
    /// With --compose: the service that is freqtrade
    #[arg(long, default_value = "freqtrade", requires = "compose", value_name = "NAME")]
    service: String,
}

/// Writes the files; what was written and what to do next, for people. `program` is botops itself, `api_key` the key that
/// its API gets.
///
/// # Errors
/// One sentence, perhaps with the lines to add. Nothing is left behind then, and no secret is in it.
pub fn prepare_setup(
    options: &FreqtradeSetupOptions,
    program: &Path,
    api_key: &SecretString,
) -> Result<String, String> {
    let config = read_config_files(&options.config)?;
    let api = ConfiguredApi::of(&config)?;
    let folder = std::path::absolute(&options.output).map_err(|error| format!("--output: {error}"))?;
    let shown = folder.to_str().ok_or("--output: the path is not UTF-8")?.to_owned();
    let socket = folder.join("run/bot.sock");
    if socket.as_os_str().len() > LONGEST_SOCKET {
        return Err(format!(
            "--output: {} is too long for a socket; choose a shorter folder",
            socket.display()
        ));
    }
    let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let facts = SetupFacts { api: &api, bot_id: &options.bot_id, folder: &folder, program, owner, api_key };
    let mut files = vec![facts.credentials()?];
    if options.compose {
        files.push(facts.settings(IN_CONTAINER, "0.0.0.0")?);
        files.push(facts.compose(&options.service)?);
    } else {
        files.push(facts.settings(&shown, "127.0.0.1")?);
        files.extend(facts.units()?);
    }
    write_files(&folder, &files).map_err(|problem| match problem {
        SetupProblem::IsThere(path) => {
            format!("{} is there already; move it away, or choose another --output", path.display())
        }
        SetupProblem::Failed(said) => said,
    })?;
    Ok(next_steps(options, &facts, &files))
}

fn next_steps(options: &FreqtradeSetupOptions, facts: &SetupFacts<'_>, files: &[SetupFile]) -> String {
    let SetupFacts { api, bot_id, folder, .. } = facts;
    let folder = clean(&folder.display().to_string(), LONGEST_SHOWN);
    let mode = match api.dry_run {
        Some(true) => "in dry run",
        Some(false) => "with real money",
        None => "in a mode that these files do not say",
    };
    let mut said = format!("freqtrade at {} ({mode}) is bot `{bot_id}`. Written:\n", api.url);
    for file in files {
        let private = if file.is_private { " (readable by its owner alone)" } else { "" };
        said.push_str(&format!("  {folder}/{}{private}\n", file.name));
    }
    if options.compose {
        said.push_str(&format!(
            "\nIn its container, freqtrade's API has to listen on 0.0.0.0. Then, beside freqtrade's own file:\n  docker compose \
             -f docker-compose.yml -f {folder}/compose.yaml up -d\n"
        ));
    } else {
        let arguments = facts.adapter_arguments(&folder, &api.url).join(" ");
        said.push_str(&format!(
            "\nTo try it, in two terminals:\n  botops {arguments}\n  (set -a; . {folder}/botops.env; botops serve)\n\nTo keep \
             it, as root:\n  install -m 644 {folder}/*.service /etc/systemd/system\n  systemctl daemon-reload\n  systemctl \
             enable --now botops-freqtrade botops\n"
        ));
    }
    said.push_str(&format!("\nThe key of the API is in {folder}/botops.env.\n"));
    if api.initial_state.as_deref() != Some("running") {
        let state = clean(api.initial_state.as_deref().unwrap_or("stopped"), 40);
        said.push_str(&format!("\nAfter a restart this freqtrade is `{state}` (`initial_state`), and so it stays until somebody starts it.\n"));
    }
    said.trim_end().to_owned()
}
