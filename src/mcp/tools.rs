//! The table of all tools: scope, hints, arguments, and the REST calls each can make.
//!
//! The list that clients see, the annotations, what is enforced, and the tool that makes a given REST call all come
//! from this table, so they cannot differ. A tool's result is the body of its call. A new endpoint for an existing
//! tool is one more row in its `routes`.

use serde_json::{Value, json};

use super::arguments::{ToolArguments, text_of};
use super::route::RouteBody::{Built, Members};
use super::route::RouteChoice::{Given, Is, IsWith};
use super::route::{GET, POST, RouteDryRun, RouteMethod, ToolRoute};
use super::tool::{CHANGE, McpTool, READ};
use botops_core::error::{Code, Error};
use botops_http::KeyScope;

fn text() -> Value {
    json!({"type": "string"})
}

fn key() -> Value {
    json!({"type": "string", "description": "repeat-safe: same key, one effect"})
}

/// Every tool, reads first. The order must not change, since clients cache prompts that contain it.
pub(super) static TOOLS: &[McpTool] = &[
    McpTool {
        name: "get_summary",
        description: "Start here: mode, health and why, what is not green, incidents, breaker, account, positions, errors with remedies.",
        returns: &["mode", "health_status", "warnings", "omitted"],
        routes: &[ToolRoute { path: "/api/v1/summary", ..GET }],
        ..READ
    },
    McpTool {
        name: "get_state",
        description: "Everything about the bot, or the `fields` named.",
        properties: || json!({"fields": {"type": "string", "description": "e.g. positions.symbol,no_entry_reasons"}}),
        routes: &[ToolRoute { path: "/api/v1/state", query: &["fields"], ..GET }],
        ..READ
    },
    McpTool {
        name: "list_events",
        description: "What happened, newest first; oldest first with `after` a seq (`wait` for the next).",
        properties: || {
            json!({"after": {"type": "integer"}, "before": {"type": "integer"}, "since": {"type": "string", "description": "2h, or a time"},
                "wait": {"type": "string", "description": "up to 50s"},
                "kind": {"type": "string", "description": "of error,fill,order,session,breaker,config,lifecycle,workflow,health,control"},
                "component": text(), "run": text(), "symbol": text(), "limit": {"type": "integer"}})
        },
        returns: &["items", "next"],
        routes: &[ToolRoute {
            path: "/api/v1/events",
            query: &["after", "before", "since", "wait", "kind", "component", "run", "symbol", "limit"],
            ..GET
        }],
        ..READ
    },
    McpTool {
        name: "list_errors",
        description: "Recent failures, newest first, with cause and remedy.",
        properties: || json!({"after": {"type": "integer"}, "limit": {"type": "integer"}}),
        returns: &["items", "next"],
        routes: &[ToolRoute { path: "/api/v1/errors", query: &["after", "limit"], ..GET }],
        ..READ
    },
    McpTool {
        name: "list_incidents",
        description: "What broke and was tried, newest first; one with its timeline by `incident_id`.",
        properties: || {
            json!({"incident_id": text(), "state": {"type": "string", "enum": ["open", "over"]}, "since": text(),
                "component": text(), "before": {"type": "integer"}, "limit": {"type": "integer"}})
        },
        routes: &[
            ToolRoute { choice: Given("incident_id"), path: "/api/v1/incidents/{incident_id}", ..GET },
            ToolRoute {
                path: "/api/v1/incidents",
                query: &["state", "since", "component", "before", "limit"],
                ..GET
            },
        ],
        ..READ
    },
    McpTool {
        name: "explain",
        description: "An error code (cause, remedy, next calls), or `whoami`: what this key and bot can do.",
        properties: || json!({"topic": {"type": "string", "description": "whoami or e.g. BRK_008"}}),
        required: &["topic"],
        routes: &[
            ToolRoute { choice: Is("topic", "whoami"), path: "/api/v1/whoami", ..GET },
            ToolRoute { path: "/api/v1/errors/catalogue/{topic}", also: &["/api/v1/errors/{topic}"], ..GET },
        ],
        ..READ
    },
    McpTool {
        name: "get_performance",
        description: "Sums over closed trades: realized P&L (not the equity's change: get_summary daily_pnl), win rate, drawdown.",
        properties: || {
            json!({"window": {"type": "string", "enum": ["day", "week", "month", "year", "all"]}, "from": {"type": "string", "description": "YYYY-MM-DD"},
                "to": text(), "by": {"type": "string", "description": "of day,week,month,symbol,version,reason,hour"}, "symbol": text()})
        },
        returns: &["total_trades", "realized_pnl"],
        routes: &[ToolRoute {
            path: "/api/v1/performance",
            query: &["window", "from", "to", "by", "symbol"],
            ..GET
        }],
        ..READ
    },
    McpTool {
        name: "list_trades",
        description: "Closed trades, newest first: entry, exit, reasons, P&L, config version.",
        properties: || {
            json!({"symbol": text(), "side": text(), "reason": text(),
                "version": text(), "result": {"type": "string", "enum": ["win", "loss"]}, "since": text(), "from": text(), "to": text(),
                "before": {"type": "integer"}, "limit": {"type": "integer"}})
        },
        returns: &["items", "next"],
        routes: &[ToolRoute {
            path: "/api/v1/trades",
            query: &[
                "symbol", "side", "reason", "version", "result", "since", "from", "to", "before", "limit",
            ],
            ..GET
        }],
        ..READ
    },
    McpTool {
        name: "get_config",
        description: "The bot's config; or its schema, versions, audit, a diff, a transaction, or whether a `merge_patch` would be accepted.",
        properties: || {
            json!({"view": {"type": "string", "enum": ["current", "schema", "versions", "changes", "audit", "diff", "txn", "validate"]},
                "from": {"type": "string", "description": "diff: v3, previous"}, "to": text(), "txn": text(), "wait": text(), "merge_patch": {"type": "object"}})
        },
        routes: &[
            ToolRoute { choice: Is("view", "schema"), path: "/api/v1/config/schema", ..GET },
            ToolRoute { choice: Is("view", "versions"), path: "/api/v1/config/versions", ..GET },
            ToolRoute { choice: Is("view", "changes"), path: "/api/v1/config/audit?changes=true", ..GET },
            ToolRoute { choice: Is("view", "audit"), path: "/api/v1/config/audit", ..GET },
            ToolRoute {
                choice: Is("view", "diff"),
                path: "/api/v1/config/diff",
                query: &["from", "to"],
                ..GET
            },
            ToolRoute {
                choice: Is("view", "txn"),
                path: "/api/v1/config/txns/{txn}",
                query: &["wait"],
                ..GET
            },
            ToolRoute {
                choice: Is("view", "validate"),
                path: "/api/v1/config/validate",
                body: Members(&["merge_patch"]),
                ..POST
            },
            ToolRoute { path: "/api/v1/config", ..GET },
        ],
        ..READ
    },
    McpTool {
        name: "list_workflows",
        description: "Workflows; one by `workflow_id`; a run by `run_id`, `wait` for its next step.",
        properties: || json!({"workflow_id": text(), "run_id": text(), "wait": text(), "after_seq": {"type": "integer"}}),
        routes: &[
            ToolRoute {
                choice: Given("run_id"),
                path: "/api/v1/workflows/runs/{run_id}",
                query: &["wait", "after_seq"],
                ..GET
            },
            ToolRoute {
                choice: Given("workflow_id"),
                path: "/api/v1/workflows/{workflow_id}",
                also: &["/api/v1/workflows/{workflow_id}/.."],
                ..GET
            },
            ToolRoute { path: "/api/v1/workflows", ..GET },
        ],
        ..READ
    },
    McpTool {
        name: "get_health",
        description: "System health with causes; alerts; one component.",
        properties: || {
            json!({"view": {"type": "string", "enum": ["status", "alerts", "components", "recovery"]}, "component": text(),
                "wait": text(), "until": {"type": "string", "enum": ["green", "up", "changed"]}})
        },
        routes: &[
            ToolRoute {
                choice: Is("view", "alerts"),
                path: "/api/v1/health/alerts",
                query: &["wait"],
                ..GET
            },
            ToolRoute {
                choice: IsWith("view", "recovery", "component"),
                path: "/api/v1/health/recovery/{component}",
                ..GET
            },
            ToolRoute { choice: Is("view", "recovery"), path: "/api/v1/health/recovery", ..GET },
            ToolRoute { choice: Is("view", "status"), path: "/api/v1/health/status", ..GET },
            ToolRoute {
                choice: Given("component"),
                path: "/api/v1/health/components/{component}",
                query: &["wait", "until"],
                says_the_same: &[("view", "components")],
                ..GET
            },
            ToolRoute { choice: Is("view", "components"), path: "/api/v1/health/components", ..GET },
            ToolRoute { path: "/api/v1/health/status", ..GET },
        ],
        ..READ
    },
    McpTool {
        name: "change_config",
        description: "Apply a `merge_patch`, roll back `to` a version, confirm or cancel `txn`. Runs as a watched trial; dry_run first.",
        scope: KeyScope::Config,
        properties: || {
            json!({"action": {"type": "string", "enum": ["apply", "rollback", "confirm", "cancel"]}, "merge_patch": {"type": "object"},
                "to": {"type": "string", "description": "previous or v15"}, "txn": text(),
                "if_match": {"type": "string", "description": "etag of get_config"}, "reason": text(),
                "confirm": {"type": "string", "enum": ["auto", "manual"]}, "confirm_within_s": {"type": "number"}, "restart": {"type": "boolean"},
                "acknowledge": text(), "dry_run": {"type": "boolean"}, "idempotency_key": key()})
        },
        required: &["action"],
        routes: &[
            ToolRoute {
                choice: Is("action", "apply"),
                method: RouteMethod::Put,
                path: "/api/v1/config/apply",
                body: Members(&[
                    "merge_patch",
                    "reason",
                    "confirm",
                    "confirm_within_s",
                    "restart",
                    "acknowledge",
                ]),
                if_match: true,
                ..POST
            },
            ToolRoute {
                choice: Is("action", "rollback"),
                method: RouteMethod::Put,
                path: "/api/v1/config/rollback",
                body: Members(&["to", "reason", "confirm", "confirm_within_s", "restart", "acknowledge"]),
                if_match: true,
                ..POST
            },
            ToolRoute {
                choice: Is("action", "confirm"),
                path: "/api/v1/config/txns/{txn}/confirm",
                dry_run: RouteDryRun::Read("/api/v1/config/txns/{txn}"),
                ..POST
            },
            ToolRoute {
                choice: Is("action", "cancel"),
                path: "/api/v1/config/txns/{txn}/cancel",
                dry_run: RouteDryRun::Read("/api/v1/config/txns/{txn}"),
                ..POST
            },
        ],
        ..CHANGE
    },
    McpTool {
        name: "run_workflow",
        description: "Start a workflow (dry_run first) or cancel `cancel_run`. Follow it with list_workflows run_id.",
        scope: KeyScope::Operate,
        properties: || {
            json!({"workflow_id": text(), "params": {"type": "object"}, "cancel_run": text(), "dry_run": {"type": "boolean"},
                "idempotency_key": key()})
        },
        routes: &[
            ToolRoute {
                choice: Given("cancel_run"),
                path: "/api/v1/workflows/runs/{cancel_run}/cancel",
                dry_run: RouteDryRun::Read("/api/v1/workflows/runs/{cancel_run}"),
                ..POST
            },
            ToolRoute {
                path: "/api/v1/workflows/{workflow_id}/execute",
                body: Built(&["params"], execute_body),
                ..POST
            },
        ],
        ..CHANGE
    },
    McpTool {
        name: "control_bot",
        description: "One command to the bot, or silence an alert (`component`, `minutes`). dry_run tells the effect first.",
        scope: KeyScope::Operate,
        properties: || {
            json!({"verb": {"type": "string", "enum": ["pause", "resume", "cancel-orders", "flatten", "probe-session", "reauth", "reset-breaker",
                "halt", "shutdown", "silence"]}, "reason": {"type": "string", "minLength": 3}, "symbols": {"type": "array", "items": {"type": "string"}},
                "args": {"type": "object", "properties": {"code": text(), "durable": {"type": "boolean"}, "until": text(), "start": {"type": "boolean"},
                "exits": {"type": "boolean"}}}, "component": text(), "minutes": {"type": "integer", "minimum": 1, "maximum": 1440}, "dry_run": {"type": "boolean"},
                "idempotency_key": key()})
        },
        required: &["verb", "reason"],
        routes: &[
            ToolRoute {
                choice: Is("verb", "silence"),
                path: "/api/v1/health/silences",
                body: Built(&["component", "minutes", "reason"], silence_body),
                ..POST
            },
            ToolRoute {
                path: "/api/v1/control/{verb}",
                body: Members(&["reason", "symbols", "args"]),
                ..POST
            },
        ],
        ..CHANGE
    },
];

fn execute_body(given: &ToolArguments) -> Result<Value, Error> {
    Ok(json!({"params": given.get("params").cloned().unwrap_or_else(|| json!({}))}))
}

fn silence_body(given: &ToolArguments) -> Result<Value, Error> {
    let component = text_of(given, "component");
    if component.is_empty() {
        return Err(Error::new(Code::ArgumentInvalid)
            .detail("`component` says which alerts to silence")
            .field("/component", Value::Null, "a component id of get_health"));
    }
    let minutes = given.get("minutes").and_then(Value::as_i64).unwrap_or(60);
    let matcher = json!({"name": "component", "value": component});
    Ok(json!({"matchers": [matcher], "reason": text_of(given, "reason"), "minutes": minutes}))
}
