//! The conventions that no compiler checks: who may use whom, where a crate may be named, what documents promise.
//!
//! Each rule is a function from a file to complaints, and `each_rule_complains` shows that it can fail.

#![allow(clippy::expect_used, reason = "a check that cannot read the repository has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The layers, from the bottom: a file or folder at the top of `src/`, and whom it may use besides itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("engine", &[]),
    ("definition", &["engine"]),
    ("wire", &["engine"]),
    ("store", &["engine", "wire"]),
    ("partition", &["engine", "store", "wire"]),
    ("kafka", &["wire"]),
    ("config", &["engine", "definition"]),
    ("telemetry", &["engine", "config"]),
    ("worker", &["engine", "store", "partition", "kafka", "wire", "telemetry", "config"]),
    ("http", &["engine", "definition", "wire", "store", "worker", "telemetry", "config"]),
    ("testing", &["engine", "definition", "wire", "store", "partition"]),
    ("cli", ANY),
    ("main", ANY),
    ("lib", ANY),
];
const ANY: &[&str] = &["everything"];
/// The simulation of the worker's world, below `src/`.
const SIMULATION: &str = "worker/simulation/";

/// Crates that only some places may name, each place as the beginning of a path below `src/`.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli/", "main.rs"]),
    ("apache_avro", &["wire/"]),
    ("axum", &["http/"]),
    ("clap", &["cli/", "main.rs"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("prometheus", &["telemetry"]),
    ("rdkafka", &["kafka/", "cli/demo"]),
    ("reqwest", &["http/", "kafka/registry"]),
    ("rocksdb", &["store/rocks"]),
    ("rustix", &["worker/disk", "cli/doctor"]),
    ("saphyr", &["definition/", "config"]),
    ("tokio", &["kafka/", "worker/", "http/", "cli/", "main.rs"]),
    ("tracing", &["kafka/", "worker/", "http/", "cli/", "main.rs", "telemetry"]),
    ("tracing_subscriber", &["telemetry", "cli/", "main.rs"]),
];

/// Where a feature may decide whether a module is there: the outside world as a whole, and the store that needs C++.
const FEATURE_PLACES: &[&str] = &["src/lib.rs", "src/store/mod.rs"];

/// Words that say nothing about what a thing is.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "util"];

type Rule = fn(&str, &str) -> Vec<String>;

#[test]
fn layers_point_one_way() {
    check("src/", layering);
}

#[test]
fn crates_stay_where_they_belong() {
    check("src/", crate_places);
}

#[test]
fn every_file_says_why_it_exists() {
    check("", first_line);
}

#[test]
fn features_are_decided_in_one_place() {
    check("src/", feature_gates);
}

#[test]
fn names_say_what_a_thing_is() {
    check("src/", empty_words);
}

#[test]
fn metric_names_live_in_telemetry() {
    check("src/", metric_names);
}

#[test]
fn documents_name_what_exists() {
    check("", named_paths);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    check("", machine_paths);
}

/// Runs a rule over the committed text files below `folder`; all complaints are reported together.
fn check(folder: &str, rule: Rule) {
    let mut complaints = Vec::new();
    for path in committed_files().iter().filter(|path| path.starts_with(folder)) {
        // What is not text has no conventions here.
        if let Ok(text) = fs::read_to_string(root().join(path)) {
            complaints.extend(rule(path, &text));
        }
    }
    assert!(complaints.is_empty(), "{}\n", complaints.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths from the root, of what is committed or about to be.
fn committed_files() -> Vec<String> {
    let git = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files to check");
    assert!(git.status.success(), "git cannot list the files to check: {}", String::from_utf8_lossy(&git.stderr));
    String::from_utf8(git.stdout).expect("paths are UTF-8").lines().map(str::to_owned).collect()
}

fn layering(path: &str, text: &str) -> Vec<String> {
    let Some(below) = source_path(path) else { return Vec::new() };
    // What serves only tests, and has to be inside to see what is private, may use what tests may.
    if below.starts_with(SIMULATION) {
        return Vec::new();
    }
    let layer = below.split(['/', '.']).next().unwrap_or_default();
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{path}: the layer {layer} is new: say in LAYERS of tests/tidy.rs whom it may use")];
    };
    let mut complaints = Vec::new();
    for (line, used) in layers_used(below, text) {
        let is_layer = LAYERS.iter().any(|(name, _)| *name == used);
        if is_layer && used != layer && *allowed != ANY && !allowed.contains(&used.as_str()) {
            complaints.push(format!(
                "{path}:{line}: {layer} may not use {used}: let the caller pass in what is needed, or move it to a \
                 layer that may (LAYERS in tests/tidy.rs)"
            ));
        }
    }
    complaints
}

fn crate_places(path: &str, text: &str) -> Vec<String> {
    let Some(below) = source_path(path) else { return Vec::new() };
    let mut complaints = Vec::new();
    for (line, tokens) in lines_of_tokens(text) {
        for (index, token) in tokens.iter().enumerate() {
            let Some((name, places)) = CRATES.iter().find(|(name, _)| name == token) else { continue };
            let before = index.checked_sub(1).map_or("", |before| &tokens[before]);
            let begins_path = tokens.get(index + 1).is_some_and(|next| next == "::") && before != "::";
            let is_at_home = places.iter().any(|place| below.starts_with(place));
            if (begins_path || before == "use") && !is_at_home {
                complaints.push(format!("{path}:{line}: {name} may be named only in {}", places.join(", ")));
            }
        }
    }
    complaints
}

fn first_line(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || text.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!("{path}: begin with a line `//! …` that says why this file exists")]
}

fn feature_gates(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let lines: Vec<_> = text.lines().map(without_comment).collect();
    let mut complaints = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let is_gate = line.contains("cfg") && line.contains("feature = \"");
        let gates_module = lines.get(index + 1).is_some_and(|next| tokens(next).contains(&"mod".to_owned()));
        if is_gate && !(FEATURE_PLACES.contains(&path) && gates_module) {
            let places = FEATURE_PLACES.join(" and ");
            complaints.push(format!(
                "{path}:{}: features are decided on `mod` lines of {places}: move what differs to a module",
                index + 1
            ));
        }
    }
    complaints
}

fn empty_words(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut judge = |name: &str, line: usize| {
        let lower = name.to_lowercase();
        if let Some(word) = EMPTY_WORDS.iter().find(|word| lower.contains(**word)) {
            complaints.push(format!("{path}:{line}: `{name}`: a {word} of what? Name it by what it is"));
        }
    };
    judge(path, 1);
    for (line, tokens) in lines_of_tokens(text) {
        for pair in tokens.windows(2) {
            if ["struct", "enum", "trait", "mod", "type"].contains(&pair[0].as_str()) {
                judge(&pair[1], line);
            }
        }
    }
    complaints
}

fn metric_names(path: &str, text: &str) -> Vec<String> {
    let is_name = |line: &str| without_comment(line).contains("\"segue_") && !path.starts_with("src/telemetry");
    complain(path, text, is_name, "metrics are named in src/telemetry: report to it what happened")
}

fn machine_paths(path: &str, text: &str) -> Vec<String> {
    // Written apart, so that this file does not accuse itself.
    let places = [["/ro", "ot/"], ["/ho", "me/"], ["/Us", "ers/"], ["/wo", "rk/"]].map(|parts| parts.concat());
    let is_path = |line: &str| places.iter().any(|place| line.contains(place));
    complain(path, text, is_path, "a path of one machine: make it relative, or take it from a setting")
}

fn complain(path: &str, text: &str, is_wrong: impl Fn(&str) -> bool, advice: &str) -> Vec<String> {
    let wrong = text.lines().enumerate().filter(|(_, line)| is_wrong(line));
    wrong.map(|(index, _)| format!("{path}:{}: {advice}", index + 1)).collect()
}

fn named_paths(path: &str, text: &str) -> Vec<String> {
    if Path::new(path).extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let bases = [root().join(folder), root().to_path_buf(), root().join("src")];
    let exists = |name: &str| bases.iter().any(|base| base.join(name).exists());
    let mut complaints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        // Every second piece stands between backquotes.
        for quoted in line.split('`').skip(1).step_by(2) {
            if looks_like_path(quoted, &bases) && !exists(quoted) {
                complaints.push(format!("{path}:{}: there is no {quoted}: name what is there now", index + 1));
            }
        }
        for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !link.is_empty() && !link.contains(':') && !exists(link) {
                complaints.push(format!("{path}:{}: the link to {link} leads nowhere", index + 1));
            }
        }
    }
    complaints
}

/// Something with a slash in it whose first part is in the repository, so that the rest should be there too.
fn looks_like_path(name: &str, bases: &[PathBuf]) -> bool {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let Some((first, _)) = name.split_once('/') else { return false };
    is_plain && !["", ".", ".."].contains(&first) && bases.iter().any(|base| base.join(first).exists())
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// The path below `src/`, if it is Rust source.
fn source_path(path: &str) -> Option<&str> {
    path.strip_prefix("src/").filter(|_| is_rust(path))
}

/// The names that come first after the crate's root, with their lines: `crate::a`, `crate::{a, b}`, `segue::a`, and the
/// `super::a` of a file that stands directly below the root.
fn layers_used(below: &str, text: &str) -> Vec<(usize, String)> {
    let is_below_root = !below.contains('/') || below.matches('/').count() == 1 && below.ends_with("/mod.rs");
    let tokens: Vec<(usize, String)> =
        lines_of_tokens(text).flat_map(|(line, tokens)| tokens.into_iter().map(move |token| (line, token))).collect();
    let mut used = Vec::new();
    for (index, (_, token)) in tokens.iter().enumerate() {
        let is_root = token == "crate" || token == "segue" || token == "super" && is_below_root;
        if is_root && tokens.get(index + 1).is_some_and(|(_, next)| next == "::") {
            used.extend(first_names(&tokens[index + 2..]));
        }
    }
    used
}

/// The first names of a path or of a group of paths.
fn first_names(tokens: &[(usize, String)]) -> Vec<(usize, String)> {
    if tokens.first().is_none_or(|(_, token)| token != "{") {
        return tokens.first().cloned().into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for pair in tokens.windows(2) {
        let token = pair[0].1.as_str();
        match token {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && ["{", ","].contains(&token) {
            names.push(pair[1].clone());
        }
    }
    names
}

/// Lines as names, `::` and single marks; comments are left out.
fn lines_of_tokens(text: &str) -> impl Iterator<Item = (usize, Vec<String>)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, tokens(without_comment(line))))
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn tokens(line: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut is_in_name = false;
    for letter in line.chars() {
        let is_name = letter.is_alphanumeric() || letter == '_';
        match tokens.last_mut() {
            Some(last) if is_name && is_in_name || letter == ':' && last == ":" => last.push(letter),
            _ if !letter.is_whitespace() => tokens.push(letter.to_string()),
            _ => {}
        }
        is_in_name = is_name;
    }
    tokens
}

#[test]
fn each_rule_complains() {
    let cases: &[(Rule, &str, &str, &str)] = &[
        (layering, "src/engine/mod.rs", "use crate::store::Store;", "engine may not use store"),
        (
            layering,
            "src/engine/mod.rs",
            "use crate::{\n    engine::Value,\n    wire::{a, b},\n};",
            ":3: engine may not",
        ),
        (layering, "src/store/mod.rs", "fn open() -> super::kafka::Consumer {}", "store may not use kafka"),
        (layering, "src/helpers/mod.rs", "", "the layer helpers is new"),
        (crate_places, "src/worker/mod.rs", "use rdkafka::Message;", "rdkafka may be named only in kafka/"),
        (crate_places, "src/store/keys.rs", "use rocksdb as database;", "rocksdb may be named only in store/rocks"),
        (crate_places, "src/http/mod.rs", "fn f() -> anyhow::Result<()> {}", "anyhow may be named only in cli/"),
        (first_line, "src/engine/value.rs", "use std::fmt;", "begin with a line"),
        (feature_gates, "src/wire/mod.rs", "#[cfg(feature = \"server\")]\nmod avro;", "features are decided"),
        (feature_gates, "src/lib.rs", "#[cfg(feature = \"server\")]\npub fn run() {}", "features are decided"),
        (empty_words, "src/store/utils.rs", "", "a util of what?"),
        (empty_words, "src/store/mod.rs", "pub struct StoreManager;", "a manager of what?"),
        (metric_names, "src/worker/mod.rs", "counter(\"segue_events_total\")", "metrics are named in src/telemetry"),
        (named_paths, "README.md", "see `src/nowhere/`", "there is no src/nowhere/"),
        (named_paths, "README.md", "see [this](docs/nowhere.md)", "leads nowhere"),
        (machine_paths, "dev", concat!("cd /ho", "me/ada/segue"), "a path of one machine"),
    ];
    for (rule, path, text, expected) in cases {
        let complaints = rule(path, text).join("\n");
        assert!(complaints.contains(expected), "{path} with {text:?} gave {complaints:?}, without {expected:?}");
    }
}

#[test]
fn rules_leave_good_files_alone() {
    let cases: &[(Rule, &str, &str)] = &[
        (layering, "src/engine/mod.rs", "use crate::engine::Value; // not crate::store::Store"),
        (layering, "src/store/rocks.rs", "use super::Store;\nuse crate::{engine::Value, wire};"),
        (layering, "src/cli/run.rs", "use segue::{http, worker};"),
        (crate_places, "src/kafka/mod.rs", "use rdkafka::Message;"),
        (crate_places, "src/worker/mod.rs", "use crate::store::rocksdb::Options; let rocksdb = 1;"),
        (first_line, "src/engine/value.rs", "//! What a field can hold.\n"),
        (feature_gates, "src/lib.rs", "#[cfg(feature = \"server\")]\npub mod http;"),
        (
            named_paths,
            "README.md",
            "`src/lib.rs`, `GET /v1/segments`, `application/json`, [docs](https://example.org/a)",
        ),
        (machine_paths, "dev", "cd \"$HOME/segue\""),
    ];
    for (rule, path, text) in cases {
        assert_eq!(rule(path, text), Vec::<String>::new(), "{path} with {text:?}");
    }
}
