//! Secrets taken out of text and JSON before it is written anywhere.
//!
//! A secret is recognised by its key's name (`access_token`, `authorization`, `password`, …) and by its form (three
//! base64url groups that begin with `eyJ`, and `Bearer …`). Both checks run on every output: logs, error contexts,
//! panic texts, exported logs. They are a second safeguard; no code should pass a secret on in the first place. Long
//! random words alone are not masked, since logs need their ids and hashes.

use serde_json::Value;

/// The text that replaces a secret.
pub const MASK: &str = "*****";

/// Key names whose values are secrets; compared in lower case with `-` as `_`.
const SECRET_KEYS: &[&str] = &[
    "access_token",
    "refresh_token",
    "device_token",
    "bearer_token",
    "id_token",
    "authorization",
    "token",
    "password",
    "passwd",
    "secret",
    "mfa_code",
    "mfa_secret",
    "backup_code",
    "totp",
    "otp",
    "api_key",
    "apikey",
    "x_api_key",
    "x_signature",
    "secret_key",
    "jwt_secret_key",
    "ws_token",
    "api_secret_key",
    "apca_api_key_id",
    "apca_api_secret_key",
    "bot_api_auth_token",
    "private_key",
    "client_secret",
    "cookie",
    "set_cookie",
];

/// Masks secrets in a line of text: `key=value`, `"key": "value"`, `Bearer …` and JSON web tokens.
pub fn line(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    // True while the next word is the value of a secret key.
    let mut armed = false;
    while !rest.is_empty() {
        let word_len = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word_len == 0 {
            let gap_len = rest.find(is_word).unwrap_or(rest.len());
            let (gap, after) = rest.split_at(gap_len);
            // A value follows its key on the same line, after nothing but quotes, blanks and one of `:` `=`.
            armed = armed && gap.chars().all(|c| matches!(c, ' ' | '"' | '\'' | ':' | '=' | '\\'));
            kept.push_str(gap);
            rest = after;
            continue;
        }
        let (word, after) = rest.split_at(word_len);
        rest = after;
        let is_scheme = ["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        if is_scheme {
            kept.push_str(word);
            armed = after.starts_with(' ');
        } else if armed || is_web_token(word) {
            kept.push_str(MASK);
            armed = false;
        } else {
            kept.push_str(word);
            armed = is_secret_key(word) && introduces_value(after);
        }
    }
    kept
}

/// Masks secrets in a JSON value, by key at any depth and by form in every string.
pub fn json(value: &mut Value) {
    match value {
        Value::String(text) => *text = line(text),
        Value::Array(items) => items.iter_mut().for_each(json),
        Value::Object(members) => {
            for (key, member) in members {
                let has_value = !member.is_null() && !member.is_boolean();
                if is_secret_key(key) && has_value {
                    *member = Value::String(MASK.to_owned());
                } else {
                    json(member);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An account number as people may see it: its last four characters.
pub fn account(number: &str) -> String {
    let tail: Vec<char> = number.chars().rev().take(4).collect();
    if number.chars().count() <= 4 {
        return "****".to_owned();
    }
    format!("***{}", tail.into_iter().rev().collect::<String>())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+' | '~')
}

/// Three base64url groups; the first is an encoded JSON object.
fn is_web_token(word: &str) -> bool {
    let mut groups = word.trim_matches('.').split('.');
    let (Some(head), Some(body)) = (groups.next(), groups.next()) else { return false };
    head.starts_with("eyJ") && head.len() > 8 && !body.is_empty()
}

/// Whether the value of a key of this name is a secret.
pub fn is_secret_key(key: &str) -> bool {
    let plain = key.rsplit(['.', '/']).next().unwrap_or(key).replace('-', "_").to_ascii_lowercase();
    SECRET_KEYS.contains(&plain.as_str())
}

/// Whether `=` or `:` follows the key, perhaps after a closing quote.
fn introduces_value(after: &str) -> bool {
    let after = after.trim_start_matches(['"', '\'', ' ', '\\']);
    after.starts_with(['=', ':'])
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(line(text), expected);
    }

    #[test]
    fn a_secret_goes_by_its_key() {
        check("login password=hunter2 done", "login password=***** done");
        check(r#"{"access_token": "abc-123", "n": 1}"#, r#"{"access_token": "*****", "n": 1}"#);
        check("APCA-API-SECRET-KEY: s3cr3t", "APCA-API-SECRET-KEY: *****");
        check(r#"{\"refresh_token\":\"abc\"}"#, r#"{\"refresh_token\":\"*****\"}"#);
        check("fields.password='x y'", "fields.password='***** y'");
    }

    #[test]
    fn a_secret_goes_by_its_shape() {
        check("got eyJhbGciOi.eyJzdWIi.c2ln here", "got ***** here");
        check("Authorization: Bearer abc.def", "Authorization: Bearer *****");
        check("sent Bearer abcdef", "sent Bearer *****");
    }

    #[test]
    fn plain_text_stays() {
        for text in ["token expired", "the password was refused", "BRK_002 at 10:00", "äöü.txt", "a.b.c"] {
            check(text, text);
        }
    }

    #[test]
    fn json_is_masked_at_any_depth() {
        let mut document = value!({
            "context": {"X-API-Key": "abc", "list": [{"token": 17}], "note": "Bearer xyz"},
            "mfa_code": null,
            "name": "bot"
        });
        json(&mut document);
        let expected = value!({
            "context": {"X-API-Key": MASK, "list": [{"token": MASK}], "note": "Bearer *****"},
            "mfa_code": null,
            "name": "bot"
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn an_account_number_keeps_its_last_four() {
        assert_eq!(account("5QR123456"), "***3456");
        assert_eq!(account("123"), "****");
    }
}
