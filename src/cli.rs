//! The command line of `botops`: its commands and options.
//!
//! Exit codes: 0 done, 1 failed, 2 cannot start as configured (one line per setting on stderr).

use std::io::{IsTerminal, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use botops_core::durable_file;
use chrono::Utc;
use clap::{Args, Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use crate::app::App;
use crate::process::serve_until_signal;
use crate::settings::{
    BOT_API_AUTH_TOKEN, BOT_API_KEYS_FILE, SettingError, SettingFlags, SettingSources, Settings,
};
use crate::terminal::{print_line, print_notice, report_failure, report_refusal};
use crate::{ask, bot_check, bot_new, demo, memory, routes};
use botops_http::{KeyFile, KeyScope, new_key};
use botops_server::configs::{self, AuditHead};

#[derive(Debug, Parser)]
#[command(name = "botops", version, about = "The operations API that stands beside a trading bot")]
struct BotopsCommandLine {
    #[command(subcommand)]
    command: Option<BotopsCommand>,
}

#[derive(Debug, Subcommand)]
enum BotopsCommand {
    /// Serve the API beside a running bot (the default)
    Serve(SettingFlags),
    /// Start a paper-trading bot and serve beside it, in a throw-away folder
    Demo(demo::DemoOptions),
    /// Run the paper-trading bot itself
    Paperbot(Box<botops_paperbot::PaperbotOptions>),
    /// Serve the bot contract for a freqtrade that runs, over its REST API
    Freqtrade(Box<FreqtradeCommandLine>),
    /// Make keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Say whether the settings can be used, then end
    Check(SettingFlags),
    /// Begin a bot of your own, or look at one
    #[command(subcommand)]
    Bot(BotSubcommand),
    /// Ask the running server in plain words; nothing is ever changed by it
    Ask(ask::AskOptions),
    /// Look at the audit of config changes
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Print the API document
    Openapi,
}

/// `botops freqtrade` with its options is the adapter; with a command it is that.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct FreqtradeCommandLine {
    #[command(subcommand)]
    command: Option<FreqtradeCommand>,
    #[command(flatten)]
    options: Option<botops_freqtrade::FreqtradeOptions>,
}

#[derive(Debug, Subcommand)]
enum FreqtradeCommand {
    /// Write credentials, settings and units for the adapter and botops, from freqtrade's own config
    Init(botops_freqtrade::FreqtradeSetupOptions),
}

#[derive(Debug, Subcommand)]
enum BotSubcommand {
    /// Write a folder with a bot that works, its config schema, the SDK that it uses, and units of systemd
    New(bot_new::NewBotOptions),
    /// Ask a bot as botops would, and say what is wrong and what it could offer next; needs no running server
    Check(bot_check::BotCheckOptions),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Say whether an audit file is as it was written; needs no running server
    Verify {
        /// The file, usually `config/config_history.jsonl` in the data folder
        file: PathBuf,
        /// The chain's key; `audit.key` in the data folder unless told otherwise
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// Where the chain should end, as an `X-Audit-Head` said; else as the store beside the file says
        #[arg(long, value_name = "SEQ:MAC")]
        head: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Print a random key, good for `BOT_API_AUTH_TOKEN`
    Random,
    /// Make a named key: its digest goes into the keys file, the key itself is printed once
    New {
        /// The key's name, as in the audit and the log
        #[arg(long)]
        id: String,
        /// What it may do: read, operate, config, admin
        #[arg(long, value_delimiter = ',', default_value = "read")]
        scopes: Vec<KeyScope>,
        /// When it ends, such as `90d`
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// The keys file; made when it is missing
        #[arg(long, env = BOT_API_KEYS_FILE.name, hide_env_values = true)]
        file: PathBuf,
    },
}

/// Runs the command in the arguments of the process; returns its exit code.
pub fn run() -> ExitCode {
    memory::use_few_heaps();
    let given = match BotopsCommandLine::try_parse() {
        Ok(given) => given,
        Err(error) => return botops_paperbot::command_line::end_with(&error, "botops"),
    };
    match given.command.unwrap_or(BotopsCommand::Serve(SettingFlags::default())) {
        BotopsCommand::Serve(flags) => serve(&flags),
        BotopsCommand::Demo(options) => demo::run(&options),
        BotopsCommand::Paperbot(options) => botops_paperbot::main(*options),
        BotopsCommand::Freqtrade(given) => run_freqtrade(&given),
        BotopsCommand::Key(KeyCommand::Random) => print_random_key(),
        BotopsCommand::Key(KeyCommand::New { id, scopes, expires, file }) => {
            add_key(id, scopes, expires.as_deref(), &file)
        }
        BotopsCommand::Check(flags) => check_settings(&flags),
        BotopsCommand::Audit(AuditCommand::Verify { file, key_file, head }) => {
            verify_audit(&file, key_file.as_deref(), head.as_deref())
        }
        BotopsCommand::Bot(BotSubcommand::New(options)) => bot_new::run(&options),
        BotopsCommand::Bot(BotSubcommand::Check(options)) => bot_check::run(&options),
        BotopsCommand::Ask(flags) => ask_server(&flags),
        BotopsCommand::Openapi => {
            let text = serde_json::to_string_pretty(&routes::published_document()).unwrap_or_default();
            print_line(&text);
            ExitCode::SUCCESS
        }
    }
}

fn serve(flags: &SettingFlags) -> ExitCode {
    match load_settings(flags) {
        Ok(settings) => serve_until_signal(settings, async |app| greet(app), async |_| {}),
        Err(wrong) => report_refusal(&error_lines(&wrong)),
    }
}

/// Says on stderr that it listens, unless the log says so there already: it is shown where that is a terminal.
fn greet(app: &App) {
    let is_shown = std::io::stderr().is_terminal() && tracing::enabled!(tracing::Level::INFO);
    if !is_shown {
        print_notice(app.greeting());
    }
}

fn run_freqtrade(given: &FreqtradeCommandLine) -> ExitCode {
    match (&given.command, &given.options) {
        (Some(FreqtradeCommand::Init(options)), _) => set_up_freqtrade(options),
        (None, Some(options)) => botops_freqtrade::main(options),
        (None, None) => {
            report_refusal(&["freqtrade: use --url, --socket and --credentials, or `init`".to_owned()])
        }
    }
}

fn set_up_freqtrade(options: &botops_freqtrade::FreqtradeSetupOptions) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return report_failure(&format!("this executable cannot be found ({error})")),
    };
    let key = match new_key("freqtrade".to_owned(), [KeyScope::Admin].into_iter().collect(), None) {
        Ok((key, _)) => key,
        Err(problem) => return report_failure(&problem),
    };
    match botops_freqtrade::prepare_setup(options, &program, &key) {
        Ok(said) => {
            print_line(&said);
            ExitCode::SUCCESS
        }
        Err(problem) => report_failure(&problem),
    }
}

fn check_settings(flags: &SettingFlags) -> ExitCode {
    match load_settings(flags) {
        Ok(settings) => {
            for warning in settings.warnings() {
                print_line(&format!("warning: {warning}"));
            }
            print_line("the settings can be used");
            ExitCode::SUCCESS
        }
        Err(wrong) => report_refusal(&error_lines(&wrong)),
    }
}

/// `botops ask`. The server's address and the key come from the same settings as those of the server.
fn ask_server(flags: &ask::AskOptions) -> ExitCode {
    let read = SettingSources::read(&SettingFlags::default())
        .and_then(|sources| Settings::address_of(&sources).map(|address| (sources, address)));
    let (sources, mut address) = match read {
        Ok(read) => read,
        Err(wrong) => return report_refusal(&error_lines(&wrong)),
    };
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{address}");
    let key = sources.get(&BOT_API_AUTH_TOKEN).map(|key| SecretString::from(key.to_owned()));
    ask::run_client(flags, url, key, print_line, |text| {
        // With standard error closed there is nowhere to report to.
        let _ = writeln!(std::io::stderr(), "{text}");
    })
}

fn load_settings(flags: &SettingFlags) -> Result<Settings, Vec<SettingError>> {
    Settings::check(&SettingSources::read(flags)?)
}

/// Prints the verdict as JSON; exit code 0 when the file is as it was written, 1 when it is not.
fn verify_audit(file: &std::path::Path, key_file: Option<&std::path::Path>, head: Option<&str>) -> ExitCode {
    let known = match head.map(|text| text.split_once(':')) {
        None => None,
        Some(pair) => {
            let parsed = pair.and_then(|(seq, mac)| Some((seq.parse().ok()?, mac.to_owned())));
            let Some((seq, mac)) = parsed else {
                let problem = "--head: it is no head; give it as an X-Audit-Head says, SEQ:MAC";
                return report_refusal(&[problem.to_owned()]);
            };
            Some(AuditHead { seq, mac })
        }
    };
    match configs::verify_audit_file(file, key_file, known) {
        Ok(verdict) => {
            print_line(&serde_json::to_string_pretty(&verdict).unwrap_or_default());
            if verdict.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => report_refusal(&[problem]),
    }
}

fn print_random_key() -> ExitCode {
    match new_key("random".to_owned(), [KeyScope::Read].into_iter().collect(), None) {
        Ok((key, _)) => {
            print_line(key.expose_secret());
            ExitCode::SUCCESS
        }
        Err(problem) => report_failure(&problem),
    }
}

fn add_key(id: String, scopes: Vec<KeyScope>, expires: Option<&str>, path: &std::path::Path) -> ExitCode {
    let mut file = if path.exists() {
        match KeyFile::read(path) {
            Ok(file) => file,
            Err(problem) => return report_failure(&format!("the keys file cannot be used: {problem}")),
        }
    } else {
        KeyFile::default()
    };
    if file.keys.iter().any(|key| key.id == id) {
        return report_failure("a key of this id is there already; choose another --id");
    }
    let expires_at = match expires.map(botops_core::duration::parse_duration) {
        None => None,
        Some(Some(time)) => Some(Utc::now() + time),
        Some(None) => return report_failure("--expires: it is no time; use one such as 90d"),
    };
    let (key, record) = match new_key(id, scopes.into_iter().collect(), expires_at) {
        Ok(made) => made,
        Err(problem) => return report_failure(&problem),
    };
    file.keys.push(record);
    if let Err(problem) = file.check() {
        return report_failure(&format!("the key was not added: {problem}"));
    }
    if let Err(error) = write_private(path, &file) {
        return report_failure(&format!("the keys file cannot be written: {error}"));
    }
    print_line(key.expose_secret());
    ExitCode::SUCCESS
}

/// Replaces the keys file as a whole, readable by its owner alone.
fn write_private(path: &std::path::Path, file: &KeyFile) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(file).map_err(std::io::Error::other)?;
    durable_file::replace(path, text.as_bytes(), durable_file::PRIVATE, "keys")
}

fn error_lines(wrong: &[SettingError]) -> Vec<String> {
    wrong.iter().map(ToString::to_string).collect()
}
