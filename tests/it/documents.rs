//! The repository's documentation pages: every file and link that they name exists.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of the pages, from the repository's root.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "benches/README.md",
    ]
    .map(str::to_owned)
    .to_vec();
    for entry in std::fs::read_dir(root().join("docs")).unwrap().filter_map(Result::ok) {
        pages.push(format!("docs/{}", entry.file_name().to_string_lossy()));
    }
    pages
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    let text = std::fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    text.split("```").step_by(2).collect()
}

/// The texts between two marks that are on one line.
fn between<'a>(text: &'a str, begin: &str, end: char) -> Vec<&'a str> {
    text.lines()
        .flat_map(|line| line.split(begin).skip(1).filter_map(|rest| rest.split(end).next()))
        .collect()
}

/// Whether a text in backticks names a file or a folder of the repository.
fn is_path(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let ends_as_file = Path::new(text).extension().is_some_and(|ending| {
        ["rs", "md", "py", "yaml", "yml", "sh", "json"].iter().any(|known| ending == *known)
    });
    let begins_as_path = [
        "src/",
        "crates/",
        "tests/",
        "benches/",
        "docs/",
        "examples/",
        "deploy/",
        "schemas/",
        "workflows/",
        ".ci/",
    ]
    .iter()
    .any(|folder| text.starts_with(folder));
    plain && begins_as_path && (ends_as_file || text.ends_with('/') || text.matches('/').count() > 1)
}

#[test]
fn every_link_and_every_path_of_the_pages_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = prose(&page);
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in between(&text, "](", ')') {
            let file = link.split('#').next().unwrap();
            let leads_out = link.contains("://");
            if !leads_out && !file.is_empty() && !folder.join(file).exists() {
                wrong.push(format!("{page}: the link {link}"));
            }
        }
        // Every second part between backticks is a code span. The changelog may name files that are gone.
        let is_of_now = page != "CHANGELOG.md";
        for line in text.lines().filter(|_| is_of_now) {
            for path in line.split('`').skip(1).step_by(2).filter(|span| is_path(span)) {
                if !root().join(path).exists() {
                    wrong.push(format!("{page}: `{path}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
}

#[test]
fn the_readme_is_read_in_one_go() {
    let lines = std::fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= 150, "{lines} lines: what goes into the depth has a page under docs/");
}
