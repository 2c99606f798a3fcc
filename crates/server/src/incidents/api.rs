//! The routes `GET incidents` and `GET incidents/{id}`.
#![expect(unused_qualifications, reason = "utoipa's macro repeats the query types of handlers")]

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::handle::Incidents;
use super::model::Incident;
use super::table::IncidentFilter;
use crate::events::{page_limit, parse_since};
use botops_core::error::{Code, Error};
use botops_http::{FeatureRoutes, Path, Query, RenderedDocument, routes};

/// A page of incidents, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct IncidentPageView {
    /// Newest first, without their timelines.
    items: Vec<Incident>,
    /// What to send as `before` for older ones; `null` at the end.
    older: Option<u64>,
    /// 1 when there are older ones, which are not counted; 0 at the end.
    omitted: u64,
}

/// The routes of the incidents.
pub fn routes() -> FeatureRoutes<Incidents> {
    FeatureRoutes::new([
        routes!(list_incidents.refuses(StoreUnavailable)),
        routes!(get_incident.refuses(IncidentUnknown, StoreUnavailable)),
    ])
}

/// Which incidents to return.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct IncidentQuery {
    /// `open` for those that are not over, `over` for those that are.
    #[param(example = "open")]
    state: Option<String>,
    /// Only those that had not ended then: `24h`, `30m`, or a time like `2026-11-23T15:00:00Z`.
    #[param(example = "24h")]
    since: Option<String>,
    /// Only those about this component: of the health monitoring, or `presence`, `config` or `workflow`.
    #[param(example = "bot")]
    component: Option<String>,
    /// Only those that began below this number: `older` of the page before.
    before: Option<u64>,
    /// Items at most, 1 to 500.
    #[param(default = 50, minimum = 1, maximum = 500)]
    #[serde(default, deserialize_with = "botops_http::limit_up_to::<_, _, 500>")]
    limit: Option<usize>,
}

/// What broke, and what was done about it
///
/// Newest first. What belongs together is one incident: that the bot is gone, the alerts and components that fell ill with
/// it, the runs that tried to recover it, the config change before it. It is over after two minutes in which everything
/// works; what breaks again before that is counted in `repeats`. Texts of `bot:` sources are untrusted.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "state", security(("api_key" = ["read"])), params(IncidentQuery),
    responses((status = 200, description = "A page", body = IncidentPageView, example = json!(example_page()))))]
async fn list_incidents(
    State(incidents): State<Incidents>,
    Query(query): Query<IncidentQuery>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let is_over = match query.state.as_deref() {
        None => None,
        Some("open") => Some(false),
        Some("over") => Some(true),
        Some(other) => {
            let got = botops_core::text::clean(other, 40);
            return Err(Error::new(Code::ArgumentInvalid)
                .detail("there is no such state of an incident")
                .field("?state", got, "open or over"));
        }
    };
    let since = query.since.as_deref().map(|text| parse_since(text, Utc::now())).transpose()?;
    let wanted = IncidentFilter {
        is_over,
        before: query.before,
        since_ms: since.map(|since| since.timestamp_millis()),
        component: query.component,
    };
    let (items, has_older) = incidents.page(wanted, page_limit(query.limit)?).await?;
    let older = items.last().filter(|_| has_older).map(Incident::first_seq);
    let page = IncidentPageView { items, older, omitted: u64::from(has_older) };
    Ok(RenderedDocument::of_json(&page)?.respond(&headers, Duration::ZERO))
}

/// One incident with its timeline
///
/// What happened, oldest first: the first twenty and the newest sixty events; `event_count` says how many there are. The
/// events themselves are in `GET events`.
#[utoipa::path(get, path = "/api/v1/incidents/{incident_id}", tag = "state", security(("api_key" = ["read"])),
    params(("incident_id" = String, Path, description = "`inc-` and a number", example = "inc-1041")),
    responses((status = 200, description = "The incident", body = Incident, example = json!(example_incident()))))]
async fn get_incident(
    State(incidents): State<Incidents>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let incident = incidents.one(&id).await?;
    Ok(RenderedDocument::of_json(&incident)?.respond(&headers, Duration::ZERO))
}

fn example_page() -> Value {
    let mut incident = example_incident();
    if let Some(members) = incident.as_object_mut() {
        members.remove("timeline");
    }
    json!({"items": [incident], "older": null, "omitted": 0})
}

/// A hang that recovery mended, for the API document.
fn example_incident() -> Value {
    json!({
        "incident_id": "inc-1041", "state": "over", "severity": "critical", "title": "bot paperbot is hung",
        "began_at": "2026-11-23T15:12:09Z", "ended_at": "2026-11-23T15:13:20Z", "last_sign_at": "2026-11-23T15:12:14Z",
        "components": {"bot": false, "presence": false}, "causes": [], "config_change": null,
        "tried": [{"at": "2026-11-23T15:12:45Z", "by": "recovery", "what": "restart-bot", "run_id": null,
            "outcome": "helped", "error_code": null}],
        "who_must_act": "nobody", "person_must": null, "next_actions": [], "repeats": 0, "alert_ids": [],
        "last_seq": 1063, "event_count": 9,
        "timeline": [{"seq": 1041, "at": "2026-11-23T15:12:09Z", "kind": "lifecycle", "source": "botops",
            "message": "bot paperbot is hung"}],
    })
}
