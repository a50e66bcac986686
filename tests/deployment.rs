//! What `deploy/` ships fits the program: its configuration is accepted, its dashboards ask for metrics that exist.

#![allow(clippy::unwrap_used, reason = "a check that cannot read the repository has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use segue::config::Config;

#[test]
fn the_configuration_of_the_image_is_accepted() {
    // The one setting that the image cannot bring.
    let environment = [("SEGUE_HTTP__TOKEN".to_owned(), "a token".to_owned())];
    let config = Config::load(&root().join("deploy/segue.yaml"), environment).unwrap();
    assert_eq!(config.kafka.brokers, "broker:29092");
}

#[test]
fn dashboards_and_rules_name_metrics_that_exist() {
    let mut sources = files(&root().join("src/telemetry"));
    sources.push(root().join("src/telemetry.rs"));
    let known = names_in(&sources, str::to_owned);
    let asked = names_in(&files(&root().join("deploy")), |name| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        histogram.filter(|histogram| known.contains(*histogram)).unwrap_or(name).to_owned()
    });
    let missing: Vec<_> = asked.difference(&known).filter(|name| !name.starts_with("segue_process_")).collect();
    assert!(
        asked.len() > 5 && missing.is_empty(),
        "of {} metrics, these are not in src/telemetry: {missing:?}",
        asked.len()
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The metric names in some files, each as `reading` takes it.
fn names_in(files: &[PathBuf], reading: impl Fn(&str) -> String) -> BTreeSet<String> {
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let mut names = BTreeSet::new();
    for text in texts {
        let words = text.split(|letter| !is_part(letter));
        names.extend(words.filter(|word| word.len() > "segue_".len() && word.starts_with("segue_")).map(&reading));
    }
    names
}
