//! The REST calls of a tool, as rows that are used in both directions: from arguments to the call they make, and from a
//! call to the arguments that make it.

use axum::http::Method;
use serde_json::{Value, json};

use super::arguments::{ToolArguments, is_dry_run, members, query, required_text, text_of};
use botops_core::error::Error;
use botops_core::text::{percent_decode, percent_encode};
use botops_http::InternalCall;

/// One REST call that a tool can make. The first row of a tool whose choice fits the arguments is taken.
pub(super) struct ToolRoute {
    pub(super) choice: RouteChoice,
    pub(super) method: RouteMethod,
    /// `{name}` stands for the argument of that name.
    pub(super) path: &'static str,
    /// Further paths that this row covers when the tool of a call is looked up; `..` stands for any rest.
    pub(super) also: &'static [&'static str],
    /// Arguments that go into the query.
    pub(super) query: &'static [&'static str],
    pub(super) body: RouteBody,
    /// Whether the argument `if_match` becomes the header.
    pub(super) if_match: bool,
    pub(super) dry_run: RouteDryRun,
    /// Arguments beside the choice that say with this value what the choice says already.
    pub(super) says_the_same: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteMethod {
    Get,
    Post,
    Put,
}

/// Which arguments choose a row.
pub(super) enum RouteChoice {
    Always,
    /// The argument was given and is not empty.
    Given(&'static str),
    /// The argument has this value.
    Is(&'static str, &'static str),
    /// The first argument has this value, and the other one was given.
    IsWith(&'static str, &'static str, &'static str),
}

/// How the body of a call is made.
pub(super) enum RouteBody {
    Nothing,
    /// The arguments of these names, as they were given.
    Members(&'static [&'static str]),
    /// Made of the arguments of these names.
    Built(&'static [&'static str], fn(&ToolArguments) -> Result<Value, Error>),
}

/// How the dry run of a change is made. Not used for reads.
pub(super) enum RouteDryRun {
    /// The same call with `?dry_run=true`.
    Query,
    /// The call has no dry run: this read shows what it would affect.
    Read(&'static str),
}

/// Template of a read that any arguments choose.
pub(super) const GET: ToolRoute = ToolRoute {
    choice: RouteChoice::Always,
    method: RouteMethod::Get,
    path: "",
    also: &[],
    query: &[],
    body: RouteBody::Nothing,
    if_match: false,
    dry_run: RouteDryRun::Query,
    says_the_same: &[],
};

/// Template of a change that any arguments choose.
pub(super) const POST: ToolRoute = ToolRoute { method: RouteMethod::Post, ..GET };

impl From<RouteMethod> for Method {
    fn from(method: RouteMethod) -> Self {
        match method {
            RouteMethod::Get => Self::GET,
            RouteMethod::Post => Self::POST,
            RouteMethod::Put => Self::PUT,
        }
    }
}

impl ToolRoute {
    /// Whether these arguments choose this row.
    pub(super) fn is_chosen(&self, given: &ToolArguments) -> bool {
        match self.choice {
            RouteChoice::Always => true,
            RouteChoice::Given(name) => !text_of(given, name).is_empty(),
            RouteChoice::Is(name, value) => text_of(given, name) == value,
            RouteChoice::IsWith(name, value, other) => {
                text_of(given, name) == value && !text_of(given, other).is_empty()
            }
        }
    }

    /// Whether this row does something with the argument of this name.
    pub(super) fn uses(&self, name: &str) -> bool {
        let in_body = match self.body {
            RouteBody::Nothing => &[],
            RouteBody::Members(names) | RouteBody::Built(names, _) => names,
        };
        let is_chosen_by = match self.choice {
            RouteChoice::Always => false,
            RouteChoice::Given(one) | RouteChoice::Is(one, _) => one == name,
            RouteChoice::IsWith(one, _, other) => one == name || other == name,
        };
        let in_path = self.path.split('/').filter_map(parameter).any(|one| one == name);
        is_chosen_by
            || in_path
            || self.query.contains(&name)
            || in_body.contains(&name)
            || (self.if_match && name == "if_match")
    }

    /// The call that the arguments make. `checked` names the arguments that the tool's schema requires already.
    ///
    /// # Errors
    /// [`botops_core::error::Code::ArgumentInvalid`] when an argument is missing.
    pub(super) fn call(
        &self,
        given: &ToolArguments,
        is_read: bool,
        checked: &[&str],
    ) -> Result<InternalCall, Error> {
        let is_dry = !is_read && is_dry_run(given);
        if let RouteDryRun::Read(path) = self.dry_run
            && is_dry
        {
            return Ok(InternalCall::get(filled(path, given, checked)?));
        }
        let path = filled(self.path, given, checked)?;
        let query = if is_dry { "?dry_run=true".to_owned() } else { query(given, self.query) };
        let body = match self.body {
            RouteBody::Nothing => None,
            RouteBody::Members(names) => Some(members(given, names)),
            RouteBody::Built(_, build) => Some(build(given)?),
        };
        let header = |name: &str| Some(text_of(given, name).to_owned()).filter(|text| !text.is_empty());
        let mut call = InternalCall::with_body(self.method.into(), path + &query, body);
        if self.if_match {
            call = call.header("if-match", header("if_match"));
        }
        if !is_read {
            call = call.header("idempotency-key", header("idempotency_key"));
        }
        Ok(call)
    }

    /// The arguments that make this call; `None` when this row does not make it.
    pub(super) fn arguments_of(&self, method: &str, path: &str) -> Option<ToolArguments> {
        if Method::from(self.method) != *method {
            return None;
        }
        let paths = std::iter::once(&self.path).chain(self.also);
        let in_path = paths.into_iter().find_map(|template| parameters(template, path))?;
        let mut arguments = ToolArguments::new();
        if let RouteChoice::Is(name, value) | RouteChoice::IsWith(name, value, _) = self.choice {
            arguments.insert(name.to_owned(), json!(value));
        }
        for (name, value) in in_path {
            arguments.insert(name.to_owned(), json!(percent_decode(value)?));
        }
        Some(arguments)
    }
}

/// The name in a `{name}` segment.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// The path with its parameters replaced by arguments.
fn filled(template: &str, given: &ToolArguments, checked: &[&str]) -> Result<String, Error> {
    let segments = template.split('/').map(|segment| match parameter(segment) {
        None => Ok(segment.to_owned()),
        Some(name) if checked.contains(&name) => Ok(percent_encode(text_of(given, name))),
        Some(name) => required_text(given, name).map(percent_encode),
    });
    Ok(segments.collect::<Result<Vec<_>, _>>()?.join("/"))
}

/// The parameters of a path and their values; `None` when the path does not fit the template.
fn parameters<'a>(template: &'static str, path: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
    let mut found = Vec::new();
    let mut given = path.split('/');
    for segment in template.split('/') {
        if segment == ".." {
            return Some(found);
        }
        let value = given.next()?;
        match parameter(segment) {
            Some(name) => found.push((name, value)),
            None if segment != value => return None,
            None => {}
        }
    }
    given.next().is_none().then_some(found)
}
