//! Where the bot answers, whose process it is, and what proves botops to it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use botops_server::bots::{BotAddress, BotOwner, BotTcpPort};

use super::reader::SettingsReader;
use super::table::{BOT_IPC_SOCKET, BOT_IPC_TOKEN_FILE, BOT_IPC_UID, BOT_IPC_URL};

/// The longest path of a Unix socket, in bytes, without the final zero byte (`sun_path` on Linux).
const SOCKET_PATH_MAX: usize = 107;

/// Shortest token that is taken, in characters.
const TOKEN_MIN: usize = 16;

const TOKEN_REMEDY: &str =
    "Set it to the path of a file that botops may read; `botops key random` prints a good token.";

/// A longer file is no file of a token.
const LONGEST_TOKEN_FILE: u64 = 4 * 1024;

/// What proves botops to a bot on a port.
#[derive(Debug, Clone)]
pub(crate) struct BotToken {
    pub(crate) secret: SecretString,
    /// Others than its owner may read the file.
    pub(super) is_shared: bool,
}

/// The bot's address, and the token for it where it is a port.
pub(super) fn read_bot_address(
    reader: &mut SettingsReader<'_>,
    data_dir: &Path,
) -> (BotAddress, Option<BotToken>) {
    let socket = read_socket(reader, data_dir);
    let (port, token) = read_port(reader).unzip();
    let address = port.map_or_else(|| BotAddress::unix_socket(socket), BotAddress::tcp_port);
    let is_other_user = reader.sources.get(&BOT_IPC_UID).is_some();
    let address = if is_other_user {
        let uid = reader.number(&BOT_IPC_UID, 0);
        address.owned_by(BotOwner::of_uid(uid))
    } else {
        address
    };
    (address, token)
}

fn read_socket(reader: &mut SettingsReader<'_>, data_dir: &Path) -> PathBuf {
    let row = &BOT_IPC_SOCKET;
    let path = reader.path(row).unwrap_or_else(|| data_dir.join("ipc").join("bot.sock"));
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_MAX {
        let problem = format!("the socket path has {length} bytes, more than the system's {SOCKET_PATH_MAX}");
        reader.refuse(row, problem, "Use a shorter path, such as /run/botops/bot.sock.");
    }
    path
}

fn read_port(reader: &mut SettingsReader<'_>) -> Option<(BotTcpPort, BotToken)> {
    let Some(url) = reader.url(&BOT_IPC_URL) else {
        if reader.sources.get(&BOT_IPC_TOKEN_FILE).is_some() && reader.sources.get(&BOT_IPC_URL).is_none() {
            let problem = "it is set, and BOT_IPC_URL is not: a bot on a socket takes no token";
            reader.refuse(&BOT_IPC_TOKEN_FILE, problem, "Set BOT_IPC_URL too, or remove it.");
        }
        return None;
    };
    if reader.sources.get(&BOT_IPC_SOCKET).is_some() {
        let problem = "BOT_IPC_SOCKET is set too, and a bot has one address";
        reader.refuse(&BOT_IPC_URL, problem, "Remove one of the two.");
        return None;
    }
    let token = read_token(reader)?;
    let port = BotTcpPort::from_url(&url, token.secret.clone());
    let port = port
        .map_err(|problem| reader.refuse(&BOT_IPC_URL, problem, "Set it to such as http://127.0.0.1:9100."));
    Some((port.ok()?, token))
}

fn read_token(reader: &mut SettingsReader<'_>) -> Option<BotToken> {
    let row = &BOT_IPC_TOKEN_FILE;
    if reader.sources.get(row).is_none() {
        let problem = "BOT_IPC_URL is set and the file of its token is not";
        let remedy =
            "`botops key random > bot.token` makes one; give it to the bot and set this to its path.";
        reader.refuse(row, problem, remedy);
        return None;
    }
    let path = reader.path(row)?;
    read_token_file(&path).map_err(|problem| reader.refuse(row, problem, TOKEN_REMEDY)).ok()
}

/// Reads a file with a bot's token.
///
/// # Errors
/// What is wrong with it, without its content.
pub(crate) fn read_token_file(path: &Path) -> Result<BotToken, String> {
    let read = File::open(path).and_then(|file| {
        let is_shared = file.metadata()?.permissions().mode() & 0o077 != 0;
        let mut text = String::new();
        file.take(LONGEST_TOKEN_FILE + 1).read_to_string(&mut text)?;
        Ok((text, is_shared))
    });
    let (text, is_shared) = read.map_err(|_| "the token file cannot be read as text".to_owned())?;
    let token = text.trim();
    let is_long = text.len() as u64 > LONGEST_TOKEN_FILE;
    if is_long || token.len() < TOKEN_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("the file holds no token: one word of at least {TOKEN_MIN} plain characters"));
    }
    Ok(BotToken { secret: SecretString::from(token.to_owned()), is_shared })
}
