//! Commands for a shell that do by hand what a run could not do.

use std::path::Path;

use serde_json::{Value, json};

use super::open_changes::OpenTrial;
use crate::bots::transport::BotAddress;
use botops_contract::BASE;

/// Resumes the bot at this address. The id is made anew each time, since an id that was used gets its first answer.
pub(super) fn resume_by_hand(address: &BotAddress, token_file: Option<&Path>) -> String {
    let body = r#"'{"command_id": "by-hand-'$(date +%s)'", "reason": "left paused by botops bot check"}'"#;
    curl(address, token_file, "commands/resume", body)
}

/// Ends this trial at the bot at this address.
pub(super) fn revert_by_hand(address: &BotAddress, token_file: Option<&Path>, trial: &OpenTrial) -> String {
    let body: Value = json!({"txn": trial.txn, "gen": trial.generation});
    curl(address, token_file, "config/revert", &quoted(&body.to_string()))
}

fn curl(address: &BotAddress, token_file: Option<&Path>, path: &str, body: &str) -> String {
    let place = match (address.socket_file(), token_file) {
        (Some(socket), _) => {
            format!("--unix-socket {} http://bot{BASE}/{path}", quoted(&socket.display().to_string()))
        }
        (None, Some(file)) => {
            let file = quoted(&file.display().to_string());
            format!("{address}{BASE}/{path} -H \"Authorization: Bearer $(cat {file})\"")
        }
        (None, None) => format!("{address}{BASE}/{path}"),
    };
    format!("curl -s {place} -H 'Content-Type: application/json' -d {body}")
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_shell_and_a_token_stays_in_its_file() {
        let socket = BotAddress::unix_socket("/run/it's here/bot.sock");
        let command = resume_by_hand(&socket, None);
        assert!(command.contains(r"--unix-socket '/run/it'\''s here/bot.sock' http://bot"), "{command}");
    }
}
