//! The structure of the code: which module may use which, and who may spawn tasks or read the environment.
//!
//! The files of a module may not use each other in cycles. Between crates the compiler checks the direction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// The modules of `crates/server`, lowest first. A module uses those in earlier rows, never others of its own row.
const SERVER: &[&[&str]] = &[
    &["store"],
    &["events", "change_keys"],
    &["operations_log", "incidents"],
    &["bots"],
    &["errors", "health", "configs", "performance"],
    &["workflows"],
    &["overview"],
    &["healthz", "whoami"],
    &["fuzzing"],
];

/// The modules of the program, in the same order.
const PROGRAM: &[&[&str]] = &[
    &["settings"],
    &["handles"],
    &["incident_wiring"],
    &["wiring"],
    &["any_call_codes"],
    &["document_published"],
    &["document_short"],
    &["document_parts"],
    &["manual"],
    &["mcp", "ask"],
    &["routes", "memory"],
    &["app"],
    &["terminal"],
    &["process"],
    &["demo", "bot_check", "bot_new"],
    &["cli"],
    &["fuzzing"],
];

/// The source folders of every crate.
const CRATES: &[&str] = &[
    "src",
    "crates/bot-server/src",
    "crates/contract/src",
    "crates/core/src",
    "crates/freqtrade/src",
    "crates/http/src",
    "crates/memory/src",
    "crates/server/src",
    "crates/paperbot/src",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below a folder, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// One file of a crate: its module, the paths of the crate that it uses, and what it re-exports from its children.
struct SourceFile {
    path: PathBuf,
    /// `["bots", "link"]` for `bots/link.rs`, `["bots"]` for `bots/mod.rs`, empty for the crate's root.
    module: Vec<String>,
    /// Paths used in code, without tests, each from the crate's root.
    uses: BTreeSet<Vec<String>>,
    /// Re-exports (`pub use child::Name`): the path by the name.
    passed_on: BTreeMap<String, Vec<String>>,
}

impl SourceFile {
    fn read(path: PathBuf, text: &str, crate_root: &Path) -> Self {
        let mut module: Vec<String> = path
            .strip_prefix(crate_root)
            .unwrap()
            .with_extension("")
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut paths =
            UsedPaths { module: module.clone(), uses: BTreeSet::new(), passed_on: BTreeMap::new() };
        paths.visit_file(&file);
        Self { path, module, uses: paths.uses, passed_on: paths.passed_on }
    }
}

/// Visitor that collects the paths of one file.
struct UsedPaths {
    module: Vec<String>,
    uses: BTreeSet<Vec<String>>,
    passed_on: BTreeMap<String, Vec<String>>,
}

impl UsedPaths {
    /// A path from the crate's root; `None` for one of another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([&self.module, rest].concat()),
            "super" => {
                let mut module = self.module.clone();
                module.pop()?;
                let mut rest = rest;
                while let Some((_, further)) = rest.split_first().filter(|(first, _)| *first == "super") {
                    module.pop()?;
                    rest = further;
                }
                Some([&module[..], rest].concat())
            }
            _ => None,
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String], is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&path.tree, &with(&path.ident), is_public),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|one| self.tree(one, before, is_public));
            }
            syn::UseTree::Name(name) => self.leaf(with(&name.ident), &name.ident.to_string(), is_public),
            syn::UseTree::Rename(name) => self.leaf(with(&name.ident), &name.rename.to_string(), is_public),
            syn::UseTree::Glob(_) => self.leaf(before.to_vec(), "*", is_public),
        }
    }

    fn leaf(&mut self, path: Vec<String>, name: &str, is_public: bool) {
        let leads_out = !matches!(path[0].as_str(), "crate" | "self" | "super");
        // Inside a module, `use child::Name` names a child; `pub use` is a re-export.
        let absolute = match self.absolute(&path) {
            Some(absolute) => absolute,
            None if leads_out => [&self.module[..], &path].concat(),
            None => return,
        };
        if is_public {
            self.passed_on.insert(name.to_owned(), absolute);
        } else {
            self.uses.insert(absolute);
        }
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|one| {
        one.path().is_ident("cfg")
            && one.parse_args::<syn::Path>().is_ok_and(|argument| argument.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for UsedPaths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    /// `pub(super)` says who sees an item, not what it uses.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&item.tree, &[], is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(absolute) = self.absolute(&names) {
            self.uses.insert(absolute);
        } else if names.len() > 1 {
            // `child::function()` in the module's own file.
            self.uses.insert([&self.module[..], &names].concat());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, used: &'ast syn::Macro) {
        // The tokens of a macro are not parsed: paths are searched for in its text.
        self.visit_path(&used.path);
        let text = used.tokens.to_string().replace(" :: ", "::").replace(":: ", "::");
        for word in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            let names: Vec<String> =
                word.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
            if names.len() > 1 && word.contains("::") {
                match self.absolute(&names) {
                    Some(absolute) => self.uses.insert(absolute),
                    None => self.uses.insert([&self.module[..], &names].concat()),
                };
            }
        }
    }
}

/// Which nodes of the folder `inside` use which. A node is a file or subfolder; `mod` is the folder's own file.
fn edges(files: &[SourceFile], inside: &[String]) -> BTreeMap<String, BTreeMap<String, String>> {
    let children: BTreeSet<&String> = files
        .iter()
        .filter(|file| file.module.starts_with(inside))
        .filter_map(|file| file.module.get(inside.len()))
        .collect();
    let own = files.iter().find(|file| file.module == inside);
    let node = |module: &[String]| match module.strip_prefix(inside)?.first() {
        Some(first) if children.contains(first) => Some(first.clone()),
        // An item of the folder's own file, or one that it re-exports from a child.
        Some(first) => match own.and_then(|own| own.passed_on.get(first)) {
            Some(target) => {
                target.strip_prefix(inside)?.first().filter(|child| children.contains(child)).cloned()
            }
            None => Some("mod".to_owned()),
        },
        None => Some("mod".to_owned()),
    };
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.module.starts_with(inside)) {
        let from = file.module.get(inside.len()).cloned().unwrap_or_else(|| "mod".to_owned());
        for used in &file.uses {
            if let Some(to) = node(used).filter(|to| *to != from) {
                let why =
                    format!("{} uses {}", file.path.strip_prefix(root()).unwrap().display(), used.join("::"));
                found.entry(from.clone()).or_default().entry(to).or_insert(why);
            }
        }
    }
    found
}

/// A cycle among these nodes, as the uses that form it.
fn circle(edges: &BTreeMap<String, BTreeMap<String, String>>) -> Option<Vec<String>> {
    fn walk<'a>(
        edges: &'a BTreeMap<String, BTreeMap<String, String>>,
        at: &'a str,
        way: &mut Vec<(&'a str, &'a str)>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        for (to, why) in edges.get(at).into_iter().flatten() {
            if let Some(begin) = way.iter().position(|(node, _)| node == to) {
                let mut uses: Vec<String> =
                    way[begin + 1..].iter().map(|(_, why)| (*why).to_owned()).collect();
                uses.push(why.clone());
                return Some(uses);
            }
            if done.insert(to) {
                way.push((to, why));
                let found = walk(edges, to, way, done);
                if found.is_some() {
                    return found;
                }
                way.pop();
            }
        }
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| {
        done.insert(start.as_str());
        walk(edges, start, &mut vec![(start.as_str(), "")], &mut done)
    })
}

fn crate_files(sources_of: &str) -> Vec<SourceFile> {
    let folder = root().join(sources_of);
    let files = sources(&folder).into_iter().filter(|(path, _)| !path.ends_with("tests.rs"));
    let files = files.filter(|(path, _)| !path.components().any(|part| part.as_os_str() == "tests"));
    files.map(|(path, text)| SourceFile::read(path, &text, &folder)).collect()
}

#[test]
fn modules_use_only_those_below_them() {
    let mut wrong = Vec::new();
    for (sources_of, levels) in [("crates/server/src", SERVER), ("src", PROGRAM)] {
        let level = |module: &str| levels.iter().position(|level| level.contains(&module));
        for (from, uses) in edges(&crate_files(sources_of), &[]) {
            if matches!(from.as_str(), "mod" | "bin") {
                continue;
            }
            let own = level(&from).unwrap_or_else(|| panic!("{sources_of}/{from} has no level: give it one"));
            let upward = uses.iter().filter(|(to, _)| level(to).is_none_or(|other| other >= own));
            wrong.extend(upward.map(|(_, why)| why.clone()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_files_of_a_module_form_no_circle() {
    let mut wrong = Vec::new();
    for sources_of in CRATES {
        let files = crate_files(sources_of);
        let mut folders: BTreeSet<&[String]> = BTreeSet::from([&[][..]]);
        folders.extend(
            files.iter().flat_map(|file| (1..file.module.len()).map(|length| &file.module[..length])),
        );
        for folder in folders {
            if let Some(uses) = circle(&edges(&files, folder)) {
                wrong.push(format!("{sources_of}/{}:\n    {}", folder.join("/"), uses.join("\n    ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_tasks_spawns_and_only_settings_reads_the_environment() {
    let mut wrong = Vec::new();
    for (path, text) in CRATES.iter().flat_map(|sources_of| sources(&root().join(sources_of))) {
        let inside = path.strip_prefix(root()).unwrap();
        let may_spawn = inside == Path::new("crates/core/src/tasks.rs");
        let may_read = ["src/settings", "crates/paperbot", "crates/core/src/failpoints.rs"]
            .iter()
            .any(|place| inside.starts_with(place) || inside == Path::new(&format!("{place}.rs")));
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let spawns = line.contains("tokio::spawn(") || line.contains("tokio::task::spawn(");
            let reads =
                line.contains("env::var(") || line.contains("env::vars") || line.contains("env::var_os(");
            if (spawns && !may_spawn) || (reads && !may_read) {
                wrong.push(format!("{}: {}", inside.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let edge = |to: &str| BTreeMap::from([(to.to_owned(), format!("uses {to}"))]);
    let chain = BTreeMap::from([("a".to_owned(), edge("b")), ("b".to_owned(), edge("c"))]);
    assert_eq!(circle(&chain), None);
    let mut closed = chain;
    closed.insert("c".to_owned(), edge("b"));
    assert_eq!(circle(&closed), Some(vec!["uses c".to_owned(), "uses b".to_owned()]));
}
