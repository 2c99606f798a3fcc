//! Every setting, one row each.
//!
//! From a row come the setting's flag, the texts of its refusals, its lines in `.env.example` and its line in
//! `docs/settings.md` (`UPDATE_DOCUMENTS=1 cargo test --locked --test it -- document` writes both anew). The documents have the same order.

use super::row::{ROW, SettingDefault as Default, SettingFlag, SettingKind as Kind, SettingRow};

macro_rules! settings {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(pub(crate) static $name: SettingRow = SettingRow { name: stringify!($name), $($field: $value,)* ..ROW };)*

        /// Every row, in the order of the documents.
        pub(super) static ROWS: &[&SettingRow] = &[$(&$name),*];
    };
}

settings! {
    BOT_API_AUTH_TOKEN {
        kind: Kind::Secret,
        default: Default::Required,
        meaning: "the operator's key: full access, at least 24 random characters (`botops key random` prints one)",
    }
    BOT_API_HOST {
        kind: Kind::IpAddress,
        default: Default::Value("127.0.0.1"),
        meaning: "where the API listens",
        note: "Anything but a loopback address needs a TLS proxy in front.",
        flag: Some(SettingFlag { long: "host", value_name: "HOST", help: "Address to bind" }),
    }
    BOT_API_PORT {
        kind: Kind::Number { min: 0, max: 65_535 },
        default: Default::Value("8000"),
        meaning: "the port of the API; 0 takes a free one",
        flag: Some(SettingFlag { long: "port", value_name: "PORT", help: "Port to bind; 0 takes a free one" }),
    }
    BOT_API_KEYS_FILE {
        kind: Kind::Path,
        meaning: "named keys with scopes `read` `operate` `config` `admin` and an end, as SHA-256 digests",
        note: "`botops key new --file keys.json --id agent --scopes read` makes one.",
    }
    BOT_API_CORS_ORIGINS {
        kind: Kind::List,
        meaning: "origins whose pages may read answers",
        note: "`*` is not taken.",
    }
    BOT_API_ALLOWED_HOSTS {
        kind: Kind::List,
        meaning: "names, beside this machine's own, under which MCP clients reach `/mcp`, such as that of a proxy",
    }
    BOT_API_RATE_LIMIT {
        kind: Kind::Number { min: 1, max: 1_000_000_000 },
        default: Default::Value("100"),
        meaning: "requests a minute per key",
    }
    BOT_API_WORKERS {
        kind: Kind::Number { min: 1, max: 256 },
        default: Default::Derived("the number of cores"),
        example: "2",
        meaning: "threads that answer",
    }
    BOT_DATA_DIR {
        kind: Kind::Path,
        default: Default::Value("botops-data"),
        meaning: "the folder for the store, the config versions and the audit",
        flag: Some(SettingFlag {
            long: "data-dir",
            value_name: "DIR",
            help: "Folder for the store, the config versions and the audit",
        }),
    }
    BOT_ID {
        kind: Kind::BotId,
        default: Default::Value("paperbot"),
        meaning: "the bot's id",
    }
    BOT_IPC_SOCKET {
        kind: Kind::Path,
        default: Default::Derived("`<data dir>/ipc/bot.sock`"),
        example: "botops-data/ipc/bot.sock",
        meaning: "the bot's socket",
        flag: Some(SettingFlag { long: "socket", value_name: "PATH", help: "The bot's socket" }),
    }
    BOT_IPC_URL {
        kind: Kind::Url,
        meaning: "where the bot answers, when it listens on a TCP port instead of a socket, such as `http://127.0.0.1:9100`",
        note: "An address of this machine or of a private network, or a name that leads to one. Needs `BOT_IPC_TOKEN_FILE`.",
    }
    BOT_IPC_TOKEN_FILE {
        kind: Kind::Path,
        meaning: "for `BOT_IPC_URL`: the file with the token that the bot wants, sent as `Authorization: Bearer`",
    }
    BOT_IPC_UID {
        kind: Kind::Number { min: 0, max: 4_294_967_294 },
        default: Default::Derived("the user that botops runs as"),
        example: "1000",
        meaning: "the number of the user whose process the bot is",
        note: "What another user but root serves in its place is not used.",
    }
    BOT_LOG_DIR {
        kind: Kind::Path,
        default: Default::Derived("`<data dir>/logs`"),
        example: "botops-data/logs",
        meaning: "the folder for botops' own log (JSONL, rotated)",
        note: "HUP opens the log anew after it was moved.",
        flag: Some(SettingFlag { long: "log-dir", value_name: "DIR", help: "Folder for botops' own log" }),
    }
    BOT_POLL_INTERVAL {
        kind: Kind::Duration { min: "50ms", max: "10s" },
        default: Default::Value("1s"),
        meaning: "how often the bot's state is read",
    }
    BOT_STATE_CACHE_TTL {
        kind: Kind::Duration { min: "1s", max: "300s" },
        default: Default::Value("60s"),
        meaning: "age beyond which a snapshot is called stale",
    }
    BOT_STREAM_INTERVAL {
        kind: Kind::Duration { min: "100ms", max: "60s" },
        default: Default::Value("5s"),
        meaning: "how often metrics go to stream clients",
    }
    BOT_STREAM_MAX_CLIENTS {
        kind: Kind::Number { min: 1, max: 100_000 },
        default: Default::Value("12000"),
        meaning: "stream clients at a time",
    }
    BOT_CONFIG_MIN_TRIAL {
        kind: Kind::Duration { min: "200ms", max: "900s" },
        default: Default::Value("15s"),
        meaning: "the shortest trial of a config change",
        note: "Shorter ones are for tests: a change needs time to show what it does.",
    }
    BOT_SUPERVISOR {
        default: Default::Value("none"),
        meaning: "who starts the bot again when a workflow restarts it",
        note: "One of `none`; `spawn` (botops starts it itself, see `BOT_SUPERVISOR_COMMAND`); `systemd:<unit>` or \
               `systemd-user:<unit>`, such as `systemd-user:my-bot.service`, which needs neither command nor pid file; \
               `command:[\"program\", \"argument\"]`, which starts it and ends.",
    }
    BOT_SUPERVISOR_COMMAND {
        example: "[\"/usr/bin/paperbot\", \"--data-dir\", \"/var/lib/paperbot\"]",
        meaning: "for `spawn`: the bot's command line as a JSON list, which no shell reads",
        note: "Such as `[\"/srv/bot/venv/bin/python\", \"/srv/bot/my_bot.py\"]`: it runs in the folder that botops runs in, so \
               paths are best whole. For what needs a shell `[\"/bin/sh\", \"/srv/bot/start.sh\"]`, with `exec` before the \
               bot's own command in the script.",
    }
    BOT_SUPERVISOR_PID_FILE {
        kind: Kind::Path,
        default: Default::Derived("`<data dir>/paperbot/paperbot.pid`"),
        example: "botops-data/paperbot/paperbot.pid",
        meaning: "for `spawn`: the file in which the bot says which process it is",
        note: "JSON: `{\"pid\": 4711, \"start_time\": 90210, \"boot_epoch\": \"…\"}`, with the start time as in field 22 of \
               `/proc/<pid>/stat`; without that it counts for nothing. paperbot writes it. Any other bot needs none: what \
               botops started it finds by a record of its own, what somebody else started by its socket once it answers. \
               A bot that a shell or cron starts is known before that where its start script writes the file and then \
               becomes the bot by `exec`: `echo \"{\\\"pid\\\": $$, \
               \\\"start_time\\\": $(cut -d ' ' -f 22 /proc/$$/stat)}\" > /srv/bot/bot.pid`. Under systemd it is not read.",
    }
    BOT_SUPERVISOR_ENVIRONMENT {
        kind: Kind::List,
        example: "EXCHANGE_KEY,EXCHANGE_SECRET",
        meaning: "names of variables that the started bot gets",
        note: "It has these, from botops' environment or `.env`, and what every program needs (`PATH`, `HOME`, `TZ`, …; the \
               bot's address `BOT_IPC_*`), and nothing else of botops' environment.",
    }
    BOT_CHECK_ALLOW {
        kind: Kind::List,
        meaning: "hosts, addresses and networks that added health checks may reach besides public ones",
    }
    BOT_CHECK_SECRET_ {
        kind: Kind::SecretFamily { example: "MARKET_DATA" },
        meaning: "credentials of added checks; a check names the setting, never the value",
        note: "Checks may name variables that begin so, and no others.",
    }
    BOT_ALERT_WEBHOOK_URL {
        kind: Kind::Url,
        meaning: "a webhook that is told of alerts, besides `alerts.jsonl` in the data folder",
    }
    BOT_ALERT_WEBHOOK_SECRET {
        kind: Kind::Secret,
        meaning: "what the webhook's messages are signed with, at least 16 characters",
    }
    BOT_ALERTMANAGER_URL {
        kind: Kind::Url,
        example: "http://127.0.0.1:9093",
        meaning: "a Prometheus Alertmanager that is told of alerts",
    }
    BOT_ALERT_WATCHDOG_URL {
        kind: Kind::Url,
        meaning: "an address asked once a minute while health moves on (a dead man's switch)",
    }
    RUST_LOG {
        default: Default::Value("info,rmcp=warn,hyper=warn"),
        meaning: "what the log takes in (a tracing filter)",
    }
    KILL_AT {
        meaning: "where the process dies; a release build does not look at it",
        for_tests: true,
    }
    FAIL_IN {
        meaning: "the folder that says which writes fail; a release build does not look at it",
        for_tests: true,
    }
}
