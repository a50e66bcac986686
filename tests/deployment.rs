//! What `deploy/` ships fits the program: its configuration is accepted, its dashboards ask for metrics that exist.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a check that cannot read the repository has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use segue::config::{Config, Topics};
use segue::engine::effects::{Cause, Change, Refusal};
use segue::kafka::check_property;
use segue::wire::cloud_event::{CloudEvent, ContentType, ENTERED, LEFT, TRACE_HEADERS};
use segue::worker::dead_letter::{ERROR, OFFSET, PARTITION, REASON, RESENT_FROM, TOPIC};

#[test]
fn the_configuration_of_the_image_is_accepted() {
    // The one setting that the image cannot bring.
    let environment = [("SEGUE_HTTP__TOKEN".to_owned(), "a token".to_owned())];
    let config = Config::load(&root().join("deploy/segue.yaml"), environment.clone(), check_property).unwrap();
    assert_eq!(config.kafka.brokers, "broker:29092");
    Config::load(&root().join("deploy/kubernetes/segue.yaml"), environment, check_property).unwrap();
    let kustomization = fs::read_to_string(root().join("deploy/kubernetes/kustomization.yaml")).unwrap();
    for file in files(&root().join("deploy/segments")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(kustomization.contains(&format!("../segments/{name}\n")), "Kubernetes is not given {name}");
    }
}

#[test]
fn every_topic_and_header_is_described_for_tools() {
    let document = fs::read_to_string(root().join("schemas/asyncapi.yaml")).unwrap();
    let topics = Topics::default();
    let topics: Vec<&str> = topics.inputs().chain(topics.outputs()).map(|(_, topic)| topic).collect();
    for topic in &topics {
        assert!(document.contains(&format!("    address: {topic}\n")), "{topic} is not described");
    }
    assert_eq!(document.matches("\n    address: ").count(), topics.len(), "something is described that is no topic");
    let change = Change {
        customer_id: "ada".into(),
        segment: "vip".into(),
        entered: true,
        at: 0,
        sequence: 1,
        definition: "".into(),
        cause: Cause::Time,
        why: Vec::new(),
        traits: Vec::new(),
    };
    let event = CloudEvent::of(&change, &[b'0'; 32]);
    let headers = event.headers("/segue/shop", ContentType::Avro).map(|(name, _)| name);
    let explanation = [REASON, TOPIC, PARTITION, OFFSET, ERROR, RESENT_FROM];
    for name in headers.into_iter().chain(TRACE_HEADERS).chain(explanation) {
        assert!(document.contains(&format!("          {name}:")), "the header {name} is not described");
    }
    for word in Refusal::ALL.map(Refusal::name).into_iter().chain([ENTERED, LEFT]) {
        assert!(document.contains(word), "{word} is not described");
    }
    for file in document.split("$ref: \"./").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(root().join("schemas").join(file).is_file(), "there is no {file}");
    }
}

#[test]
fn every_alert_is_tested_and_says_what_to_do() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (rules, tests, runbook) =
        (read("deploy/alerts.yml"), read("deploy/alerts-test.yml"), read("docs/operating.md"));
    let names: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(runbook.contains(&format!("\n### {name}\n")), "docs/operating.md has no section {name}");
        assert!(rules.contains(&format!("docs/operating.md#{}\n", name.to_lowercase())), "{name} leads nowhere");
        let fires = format!("        alertname: {name}\n        exp_alerts:");
        assert!(tests.contains(&fires), "no test of deploy/alerts-test.yml makes {name} fire");
    }
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
