//! The files that `init` writes: credentials, settings, and what starts the adapter and botops.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::freqtrade_config::{ConfiguredApi, checked_url};
use botops_contract::BotId;
use botops_core::setup_files::{SetupFile, check_no_control, quoted_value, unit_path, unit_word};

/// What the files are made from.
#[derive(Debug)]
pub(super) struct SetupFacts<'s> {
    pub api: &'s ConfiguredApi,
    pub bot_id: &'s BotId,
    /// The folder of the files, as an absolute path.
    pub folder: &'s Path,
    /// The program `botops`, as an absolute path.
    pub program: &'s Path,
    /// The user and the group that run both.
    pub owner: (u32, u32),
    /// The key of botops' API.
    pub api_key: &'s SecretString,
}

impl SetupFacts<'_> {
    /// Name and password of freqtrade's API, as `--credentials` takes them.
    ///
    /// # Errors
    /// A sentence when one of them cannot be written into such a file.
    pub(super) fn credentials(&self) -> Result<SetupFile, String> {
        let username = quoted_value(&self.api.username, "api_server.username")?;
        let password = quoted_value(self.api.password.expose_secret(), "api_server.password")?;
        let content = format!("username={username}\npassword={password}\n");
        Ok(SetupFile { name: "credentials".to_owned(), content, is_private: true })
    }

    /// The settings of botops. `folder` is where these files lie for botops itself.
    pub(super) fn settings(&self, folder: &str, host: &str) -> Result<SetupFile, String> {
        let at = |part: &str| quoted_value(&format!("{folder}/{part}"), "--output");
        let content = format!(
            "BOT_API_AUTH_TOKEN={}\nBOT_API_HOST={host}\nBOT_API_PORT=8000\nBOT_ID={}\nBOT_IPC_SOCKET={}\nBOT_DATA_DIR={}\n\
             BOT_LOG_DIR={}\n",
            self.api_key.expose_secret(),
            self.bot_id,
            at("run/bot.sock")?,
            at("botops")?,
            at("botops/logs")?,
        );
        Ok(SetupFile { name: "botops.env".to_owned(), content, is_private: true })
    }

    /// The arguments of the adapter. `folder` is where these files lie for it.
    pub(super) fn adapter_arguments(&self, folder: &str, url: &str) -> Vec<String> {
        let at = |part: &str| format!("{folder}/{part}");
        let pairs = [
            ("--url", url.to_owned()),
            ("--credentials", at("credentials")),
            ("--socket", at("run/bot.sock")),
            ("--data-dir", at("adapter")),
            ("--bot-id", self.bot_id.to_string()),
        ];
        let pairs = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        std::iter::once("freqtrade".to_owned()).chain(pairs).collect()
    }

    /// The two units of systemd.
    ///
    /// # Errors
    /// A sentence when a path has a character that no unit can hold.
    pub(super) fn units(&self) -> Result<[SetupFile; 2], String> {
        let folder = self.folder.display().to_string();
        let (user, group) = self.owner;
        let program = unit_word(&self.program.display().to_string())?;
        let arguments = self.adapter_arguments(&folder, &self.api.url);
        let arguments = arguments.iter().map(|word| unit_word(word)).collect::<Result<Vec<_>, _>>()?;
        let service =
            format!("User={user}\nGroup={group}\nRestart=always\nRestartSec=2\nUMask=0077\n{HARDENING}");
        let writes = format!("ReadWritePaths={}\n", unit_word(&folder)?);
        let adapter = format!(
            "[Unit]\nDescription=The adapter of botops for freqtrade (bot {id})\nAfter=network-online.target\n\
             Wants=network-online.target\n# No dependency on freqtrade or on botops: each runs on without the others.\n\n\
             [Service]\nExecStart={program} {}\n{service}{writes}\n[Install]\nWantedBy=multi-user.target\n",
            arguments.join(" "),
            id = self.bot_id,
        );
        let botops = format!(
            "[Unit]\nDescription=botops beside freqtrade (bot {id})\nAfter=network.target\n\n[Service]\nType=notify\n\
             NotifyAccess=main\nExecStart={program} serve\nExecReload=/bin/kill -HUP $MAINPID\nEnvironmentFile={env}\n\
             WatchdogSec=30\nTimeoutStopSec=15\nLimitNOFILE=65536\n{service}{writes}\n[Install]\n\
             WantedBy=multi-user.target\n",
            id = self.bot_id,
            env = unit_path(&format!("{folder}/botops.env"))?,
        );
        Ok([
            SetupFile { name: "botops-freqtrade.service".to_owned(), content: adapter, is_private: false },
            SetupFile { name: "botops.service".to_owned(), content: botops, is_private: false },
        ])
    }

    /// The compose file, for a freqtrade that is the service of this name.
    ///
    /// # Errors
    /// A sentence when the name or a path cannot be written into such a file.
    pub(super) fn compose(&self, service: &str) -> Result<SetupFile, String> {
        let url = checked_url(service, self.api.port).ok_or("--service: it is not the name of a service")?;
        check_no_control(&self.program.display().to_string())?;
        check_no_control(&self.folder.display().to_string())?;
        let arguments = self.adapter_arguments(IN_CONTAINER, &url);
        let (user, group) = self.owner;
        let common = format!(
            "    image: debian:stable-slim\n    user: {}\n    restart: unless-stopped\n    volumes:\n      - {}\n      - {}\n",
            json_text(&format!("{user}:{group}")),
            json_text(&format!("{}:/usr/local/bin/botops:ro", self.program.display())),
            json_text(&format!("{}:{IN_CONTAINER}", self.folder.display())),
        );
        let command: Vec<String> = arguments.iter().map(|word| json_text(word)).collect();
        let content = format!(
            "# Laid over freqtrade's own file: docker compose -f docker-compose.yml -f {} up -d\n\
             # The image is anything with a glibc that is not older than that of the machine that built botops.\n\
             services:\n  botops-freqtrade:\n{common}    command: [\"/usr/local/bin/botops\", {}]\n    depends_on:\n      \
             - {}\n  botops:\n{common}    command: [\"/usr/local/bin/botops\", \"serve\"]\n    env_file:\n      - {}\n    \
             ports:\n      - \"127.0.0.1:8000:8000\"\n",
            json_text(&self.folder.join("compose.yaml").display().to_string()),
            command.join(", "),
            json_text(service),
            json_text(&self.folder.join("botops.env").display().to_string()),
        );
        Ok(SetupFile { name: "compose.yaml".to_owned(), content, is_private: false })
    }
}

/// The folder of the files inside of a container.
pub(super) const IN_CONTAINER: &str = "/botops";

/// Neither program needs more: files in its folder, and sockets.
const HARDENING: &str = "NoNewPrivileges=yes\nProtectSystem=strict\nPrivateTmp=yes\nPrivateDevices=yes\n\
                         ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectControlGroups=yes\n\
                         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nRestrictNamespaces=yes\n\
                         LockPersonality=yes\nMemoryDenyWriteExecute=yes\nCPUWeight=20\nMemoryMax=512M\n";

/// A text of YAML, which takes those of JSON. Compose reads `$` as a variable, and `$$` as the sign.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
