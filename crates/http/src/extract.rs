//! Extractors that refuse with botops' own errors: the wrong field's pointer, what was sent and what is expected.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::BODY_LIMIT;
use super::unfinished_input::BodyRefusal;
use botops_core::error::{Code, Error};
use botops_core::object_reader::ByName;
use botops_core::text::percent_decode;

/// A JSON body. An empty body counts as `null`, so a request type whose fields are all optional needs none.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        refuse_encoded(&parts.headers)?;
        let bytes = read_body(body).await?;
        if bytes.is_empty() {
            let value = serde_json::from_value(Value::Null).or_else(|_| from_slice(b"{}"))?;
            return Ok(Self(value));
        }
        let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim();
        if essence != "application/json" && !essence.ends_with("+json") {
            return Err(Error::new(Code::MediaTypeUnknown).field(
                "Content-Type",
                botops_core::text::clean(media, 100),
                "application/json",
            ));
        }
        from_slice(&bytes).map(Self)
    }
}

/// The whole body.
///
/// # Errors
/// [`Code::BodyTooLarge`], [`Code::RequestTimeout`]; [`Code::JsonInvalid`] when it breaks off.
pub(super) async fn read_body(body: Body) -> Result<bytes::Bytes, Error> {
    let error = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => return Ok(collected.to_bytes()),
        Err(error) => error,
    };
    if error.downcast_ref::<LengthLimitError>().is_some() {
        return Err(Error::new(Code::BodyTooLarge).context("limit_bytes", BODY_LIMIT));
    }
    match BodyRefusal::behind(&*error) {
        Some(refusal @ (BodyRefusal::TooLate | BodyRefusal::NoRoom)) => {
            Err(Error::new(Code::RequestTimeout).detail(refusal.to_string()))
        }
        Some(BodyRefusal::Broken(_)) | None => {
            Err(Error::new(Code::JsonInvalid).detail("the body broke off").caused_by(error))
        }
    }
}

/// Refuses a body that is compressed or encoded in another way: it would look like broken JSON.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), Error> {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let mut codings = codings.flat_map(|value| value.to_str().unwrap_or("unreadable").split(','));
    let Some(coding) = codings.find(|coding| {
        let coding = coding.trim();
        !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")
    }) else {
        return Ok(());
    };
    let coding = botops_core::text::clean(coding.trim(), 40);
    Err(Error::new(Code::MediaTypeUnknown)
        .detail(format!("the body is encoded as `{coding}`; botops takes plain JSON only"))
        .field("Content-Encoding", coding, "no such header")
        .header("accept-encoding", "identity"))
}

fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(ByName(&mut reader)).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        not_plain_json(bytes).unwrap_or_else(|| wrong_member(bytes, pointer, &inner))
    })?;
    reader.end().map_err(|_| {
        let error = Error::new(Code::JsonInvalid).detail("there is more after the end of the JSON");
        error.field("", "more after its end", "one JSON value and nothing after it")
    })?;
    Ok(value)
}

/// How what is no plain JSON begins, and what it is; the longer beginning of two first.
const OTHER_BEGINNINGS: &[(&[u8], &str)] = &[
    (b"\xef\xbb\xbf", "it begins with a byte order mark (the bytes EF BB BF)"),
    (b"\xff\xfe\0\0", "it is UTF-32 (it begins with the bytes FF FE 00 00)"),
    (b"\0\0\xfe\xff", "it is UTF-32 (it begins with the bytes 00 00 FE FF)"),
    (b"\xff\xfe", "it is UTF-16 (it begins with the bytes FF FE)"),
    (b"\xfe\xff", "it is UTF-16 (it begins with the bytes FE FF)"),
    (b"\x1f\x8b", "it is compressed with gzip"),
    (b"\x78\x01", "it is compressed with zlib (deflate)"),
    (b"\x78\x5e", "it is compressed with zlib (deflate)"),
    (b"\x78\x9c", "it is compressed with zlib (deflate)"),
    (b"\x78\xda", "it is compressed with zlib (deflate)"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd"),
    (b"{\0\0\0", "it is UTF-32 (three of four bytes are 0)"),
    (b"\0\0\0{", "it is UTF-32 (three of four bytes are 0)"),
    (b"{\0", "it is UTF-16 (every second byte is 0)"),
    (b"\0{", "it is UTF-16 (every second byte is 0)"),
];

/// Why a body is no plain JSON in UTF-8, by its headers or by how it begins; `None` where it may be.
pub fn why_not_plain_json(headers: &HeaderMap, bytes: &[u8]) -> Option<Error> {
    refuse_encoded(headers).err().or_else(|| not_plain_json(bytes))
}

/// The refusal of a body whose first bytes say that it is encoded in another way; its text would name a wrong character.
fn not_plain_json(bytes: &[u8]) -> Option<Error> {
    let (_, what) = OTHER_BEGINNINGS.iter().find(|(begin, _)| bytes.starts_with(begin))?;
    let error = Error::new(Code::MediaTypeUnknown).detail(format!("the body is not plain JSON: {what}"));
    Some(error.field("body", *what, "JSON in UTF-8, not compressed, without a byte order mark"))
}

/// The refusal of the member at a pointer: what stands there, or `null` where something is missing.
fn wrong_member(bytes: &[u8], mut pointer: String, error: &serde_json::Error) -> Error {
    let mut what = botops_core::text::clean(&strip_place(&error.to_string()), 200);
    let whole: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if let Some(name) = what.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        pointer.push('/');
        pointer.push_str(name);
    }
    // Arguments that are read by hand say at the end which of them is meant.
    if let Some((said, name)) = what.strip_suffix('`').and_then(|rest| rest.rsplit_once(" in `")) {
        pointer.push('/');
        pointer.push_str(name);
        what = said.to_owned();
    }
    let given = whole.pointer(&pointer).unwrap_or(&Value::Null);
    let mut got = shown(given);
    if let Some((text, said)) = given.as_str().and_then(|text| Some((text, wrong_time(text, &what)?))) {
        if said.contains("no zone") {
            got = botops_core::text::clean(text, 40).into();
        }
        what = said;
    }
    let place = format!("line {}, column {}", error.line(), error.column());
    let expected = in_plain_words(&what);
    Error::new(Code::JsonInvalid).detail(format!("{what} ({place})")).field(pointer, got, expected)
}

/// What is expected, out of a refusal of a reader of JSON or of a query; the refusal itself where it does not say.
fn in_plain_words(what: &str) -> String {
    const NO_NUMBER: [&str; 4] = [
        "invalid digit found in string",
        "number too large to fit in target type",
        "number too small to fit in target type",
        "cannot parse integer from empty string",
    ];
    if NO_NUMBER.contains(&what) {
        return "a whole number, 0 or more".to_owned();
    }
    if what == "invalid float literal" {
        return "a number".to_owned();
    }
    if what == "provided string was not `true` or `false`" {
        return "true or false".to_owned();
    }
    if what.starts_with("missing field ") {
        return "a value: it must be there".to_owned();
    }
    let is_of_names = what.starts_with("unknown field ") || what.starts_with("unknown variant ");
    let Some((_, expected)) = what.rsplit_once(", expected ").filter(|_| is_of_names) else {
        return what.to_owned();
    };
    let names = expected.strip_prefix("one of ").unwrap_or(expected);
    let names = names.replace('`', "").replace(" or ", ", ");
    if names.contains(',') { format!("one of {names}") } else { format!("only {names}") }
}

/// How many items a page has at most, out of a query: a whole number from 1 to `MOST`.
///
/// For `#[serde(default, deserialize_with = "…")]` of the parameter `limit`.
///
/// # Errors
/// What is expected, in words.
pub fn limit_up_to<'de, D, N, const MOST: u32>(input: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u32>,
{
    let text = String::deserialize(input)?;
    let number = text.parse::<u32>().ok().filter(|number| (1..=MOST).contains(number));
    let limit = number.and_then(|number| N::try_from(number).ok());
    limit.map(Some).ok_or_else(|| D::Error::custom(format!("a whole number from 1 to {MOST}")))
}

/// A value as an error shows it: short, without what is inside of it, and never one that may be a secret that stands in a
/// wrong place, such as a code or a key.
fn shown(value: &Value) -> Value {
    let is_word =
        |text: &str| text.len() <= 20 && text.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c == '_');
    match value {
        Value::String(text) if is_word(text) => text.clone().into(),
        Value::String(text) => format!("a text of {} characters", text.chars().count()).into(),
        Value::Number(number) if number.to_string().len() > 4 => "a number".into(),
        Value::Array(items) => format!("a list of {}", items.len()).into(),
        Value::Object(members) => format!("an object with {} members", members.len()).into(),
        plain => plain.clone(),
    }
}

/// What the reader of times says of a text that is none.
const TIME_REFUSALS: [&str; 5] = [
    "premature end of input",
    "trailing input",
    "input contains invalid characters",
    "input is out of range",
    "input is not enough for unique date and time",
];

/// What is wrong with a time, in words; `None` when the refusal is not about one.
fn wrong_time(got: &str, what: &str) -> Option<String> {
    if !TIME_REFUSALS.iter().any(|refusal| what.ends_with(refusal)) {
        return None;
    }
    Some(time_words(got))
}

/// What is wrong with a text that is no time, in words.
pub fn time_words(text: &str) -> String {
    let time = text.trim().replacen(' ', "T", 1);
    let has_seconds = time.parse::<chrono::NaiveDateTime>().is_ok();
    let is_time = has_seconds || chrono::NaiveDateTime::parse_from_str(&time, "%Y-%m-%dT%H:%M").is_ok();
    let whole = if has_seconds { time } else { format!("{time}:00") };
    if is_time {
        format!("the time has no zone: `{whole}Z` is that time in UTC, `{whole}+02:00` in a zone of its own")
    } else {
        "a time with its zone is expected, such as `2026-11-23T15:30:00Z`".to_owned()
    }
}

/// A path of `serde_path_to_error` as a JSON pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let name = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}

/// A message of `serde_json` without its suffix ` at line 1 column 2`.
fn strip_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what).to_owned()
}

/// Query parameters. Unknown ones are refused when `T` denies unknown fields.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<S, T> FromRequestParts<S> for Query<T>
where
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let what = botops_core::text::clean(&rejection.body_text(), 200);
                let what =
                    what.strip_prefix("Failed to deserialize query string: ").unwrap_or(&what).to_owned();
                let name = what.split(':').next().filter(|name| !name.contains(' ')).unwrap_or_default();
                let query = parts.uri.query().unwrap_or_default();
                let given = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                let given = given.map(|given| percent_decode(given).unwrap_or_else(|| given.to_owned()));
                let said = what.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
                let time = given.as_deref().and_then(|given| wrong_time(given, &what));
                let expected = time.unwrap_or_else(|| in_plain_words(said.unwrap_or(&what)));
                let detail =
                    said.map_or_else(|| what.clone(), |_| format!("`{name}` cannot be used: {expected}"));
                let got = botops_core::text::clean(given.as_deref().unwrap_or(query), 100);
                Err(Error::new(Code::ArgumentInvalid).detail(detail).field(format!("?{name}"), got, expected))
            }
        }
    }
}

/// The parameters of the path.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Send,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => {
                let what = botops_core::text::clean(&rejection.body_text(), 200);
                let got = botops_core::text::clean(parts.uri.path(), 100);
                Err(Error::new(Code::ArgumentInvalid).detail(&what).field("path", got, &what))
            }
        }
    }
}

/// The `Idempotency-Key` header: 1 to 128 visible characters, with or without quotes.
///
/// # Errors
/// [`Code::ArgumentInvalid`].
pub(super) fn read_key(headers: &HeaderMap) -> Result<Option<String>, Error> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    if text.is_empty() || text.len() > 128 {
        return Err(Error::new(Code::ArgumentInvalid).detail("the idempotency key cannot be used").field(
            "Idempotency-Key",
            botops_core::text::clean(text, 40),
            "1 to 128 visible characters",
        ));
    }
    Ok(Some(text.to_owned()))
}
