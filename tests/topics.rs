//! `segue topics create` against a real broker: what is missing is made, with the settings its use needs, once.

#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, reason = "a test that cannot start the binary has failed")]

mod support;

use std::fs;
use std::process::Command;

use support::Broker;

#[track_caller]
fn check(config: &str, flags: &[&str], code: i32, expected: &[&str]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
    let output = command.args(["topics", "create", "--config", config]).args(flags).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}");
    for line in expected {
        assert!(told.lines().any(|found| found.contains(line)), "no `{line}` in\n{told}");
    }
}

#[test]
fn what_is_missing_is_made_once() {
    let broker = Broker::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("segue.yaml");
    let name = broker.unique("shop");
    let topic = |topic: &str| format!("{name}-{topic}");
    let config = format!(
        "application: {{id: {name}}}\nkafka: {{brokers: \"{}\"}}\ntopics:\n  events: {{click: {}, purchase: {}}}\n  \
         profile: {}\n  consent: {}\n  erasure: {}\n  changes: {}\n  memberships: {}\n  dead_letters: {}\n",
        broker.address(),
        topic("clicks"),
        topic("purchases"),
        topic("profiles"),
        topic("consents"),
        topic("erasures"),
        topic("changes"),
        topic("memberships"),
        topic("dead"),
    );
    fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();

    // The inputs that are there say how many partitions the others get.
    broker.create_topic(&topic("clicks"), 3, &[]);
    let changelog = format!("{name}-changelog (3 partitions, cleanup.policy=compact");
    check(
        file,
        &["--dry-run"],
        0,
        &[&format!("exists   {} (3 partitions)", topic("clicks")), &format!("missing  {changelog}")],
    );
    let memberships = format!("created  {} (3 partitions, cleanup.policy=compact)", topic("memberships"));
    let percentiles = format!("created  {name}-percentiles (1 partitions, cleanup.policy=compact)");
    check(file, &["--partitions", "5"], 0, &[&format!("created  {changelog}"), &memberships, &percentiles]);
    check(
        file,
        &[],
        0,
        &[&format!("exists   {name}-changelog (3 partitions)"), &format!("exists   {}", topic("erasures"))],
    );
}

#[test]
fn counts_that_differ_are_told() {
    let broker = Broker::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("segue.yaml");
    let (one, other) = (broker.unique("one"), broker.unique("other"));
    let config = format!(
        "application: {{id: {one}-app}}\nkafka: {{brokers: \"{}\"}}\ntopics: {{events: {{click: {one}, purchase: {other}}}, \
         profile: {one}-p, consent: {one}-c, erasure: {one}-e, changes: {one}-ch, memberships: {one}-m, dead_letters: {one}-d}}\n",
        broker.address()
    );
    fs::write(&file, config).unwrap();
    broker.create_topic(&one, 2, &[]);
    broker.create_topic(&other, 3, &[]);
    check(file.to_str().unwrap(), &[], 4, &[&format!("{one} 2"), &format!("{other} 3")]);
}
