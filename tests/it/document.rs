//! Generated texts that are kept as files, so that every change of them is seen: the API document, the catalogue,
//! `.env.example`. `UPDATE_DOCUMENTS=1 cargo test --locked --test it -- document` writes them anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use botops_core::error::Code;
use serde_json::Value;

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a text with the file in which it is kept, or writes it there.
#[track_caller]
pub(crate) fn assert_kept(path: &str, now: &str) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(at(path), now).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(at(path)).unwrap_or_default();
    assert!(
        kept == now,
        "{path} differs from what the code says; look at the change, then UPDATE_DOCUMENTS=1"
    );
}

#[test]
fn the_api_document_is_the_kept_one() {
    let document = botops::routes::document();
    let published = serde_json::to_string_pretty(&botops::routes::published_document()).unwrap();
    assert_kept("schemas/openapi.json", &format!("{published}\n"));
    assert_kept("schemas/operations.txt", &botops_http::OperationTable::of(&document).to_string());
}

#[test]
fn the_catalogue_is_the_kept_one() {
    let rows: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let row = code.row();
            format!("{} {} {}\n", row.code, row.status, row.title)
        })
        .collect();
    assert_kept("schemas/error-codes.txt", &rows.concat());
}

/// Every operation of the document: path, method, operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            found.push((path.clone(), method.clone(), operation.clone()));
        }
    }
    found
}

#[test]
fn every_operation_has_a_name_a_scope_and_its_refusals() {
    let document = botops::routes::document();
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
        if !names.insert(name.clone()) {
            wrong.push(format!("{place}: the operation id `{name}` stands twice"));
        }
        let security = operation["security"].as_array().cloned().unwrap_or_default();
        let open =
            !security.is_empty() && security.iter().all(|one| one.as_object().is_some_and(|o| o.is_empty()));
        let scope = operation["x-scope"].as_str().unwrap_or_default();
        if !open && !["read", "operate", "config", "admin"].contains(&scope) {
            wrong.push(format!("{place}: neither open nor with a scope"));
        }
        for status in if open { vec!["500"] } else { vec!["401", "403", "429", "500"] } {
            if operation["responses"].get(status).is_none() {
                wrong.push(format!("{place}: no {status}"));
            }
        }
        let summary = operation["summary"].as_str().unwrap_or_default();
        if summary.is_empty() {
            wrong.push(format!("{place}: no summary"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_next_action_of_the_catalogue_is_a_documented_call() {
    let document = botops::routes::document();
    let known: Vec<(String, String, String)> = operations(&document)
        .into_iter()
        .map(|(path, method, operation)| {
            (path, method.to_uppercase(), operation["operationId"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let matches = |template: &str, path: &str| {
        let path = path.split('?').next().unwrap_or_default();
        let (left, right): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        left.len() == right.len() && left.iter().zip(&right).all(|(l, r)| l == r || l.starts_with('{'))
    };
    let mut wrong = Vec::new();
    for code in Code::ALL {
        for action in code.row().next_actions() {
            let found = known.iter().any(|(path, method, name)| {
                *method == action.method && *name == action.operation && matches(path, &action.path)
            });
            if !found {
                wrong.push(format!(
                    "{}: {} {} ({})",
                    code.row().code,
                    action.method,
                    action.path,
                    action.operation
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_documents_of_the_settings_are_the_kept_ones() {
    assert_kept(".env.example", &botops::settings::env_example());
    let (begin, end) = ("<!-- settings: begin -->\n", "<!-- settings: end -->\n");
    let page = std::fs::read_to_string(at("docs/settings.md")).unwrap();
    let (head, rest) = page.split_once(begin).expect("the page has a place for the table");
    let (_, tail) = rest.split_once(end).expect("the place has an end");
    let table = botops::settings::settings_table();
    assert_kept("docs/settings.md", &format!("{head}{begin}{table}{end}{tail}"));
}

/// utoipa keeps one schema per name: of two types with the same name the document would show only one.
#[test]
fn no_two_types_share_a_name_in_the_document() {
    fn walk(folder: &Path, seen: &mut std::collections::BTreeMap<String, Vec<String>>) {
        for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, seen);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let mut derived = false;
            let mut alias = None;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[derive(") {
                    derived = line.contains("ToSchema");
                    alias = None;
                } else if let Some(rest) = line.split_once("schema(as = ").map(|(_, rest)| rest) {
                    alias = rest.split([')', ',']).next().map(str::to_owned);
                } else if let Some((_, rest)) =
                    line.split_once("struct ").or_else(|| line.split_once("enum "))
                {
                    let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                    if derived && !line.starts_with("//") {
                        seen.entry(alias.take().unwrap_or(name))
                            .or_default()
                            .push(path.display().to_string());
                        derived = false;
                    }
                }
            }
        }
    }
    let mut seen = std::collections::BTreeMap::new();
    walk(&at("src"), &mut seen);
    for part in ["contract", "core", "http", "server"] {
        walk(&at(&format!("crates/{part}/src")), &mut seen);
    }
    let twice: Vec<_> = seen.iter().filter(|(_, files)| files.len() > 1).collect();
    assert!(seen.len() > 100 && twice.is_empty(), "{twice:?}");
}
