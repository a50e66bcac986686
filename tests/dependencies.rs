//! What may come into the build, as `deny.toml` says: licences and banned crates, checked wherever the tests run.
//!
//! cargo-deny reads the same file and asks for known vulnerabilities besides, but takes minutes to install.

#![allow(clippy::expect_used, reason = "a check that cannot read the manifest has failed")]

use std::process::Command;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

#[test]
fn every_licence_is_allowed() {
    let allowed = entries("allow");
    let mut complaints = Vec::new();
    for package in packages() {
        let name = format!("{} {}", text(&package, "name"), text(&package, "version"));
        if let Err(problem) = judge(text(&package, "license"), &allowed) {
            complaints.push(format!("{name}: {problem}"));
        }
    }
    assert!(complaints.is_empty(), "{}\nallowed in deny.toml: {}", complaints.join("\n"), allowed.join(", "));
}

#[test]
fn no_banned_crate_is_there() {
    let banned = entries("deny");
    let there: Vec<_> = packages().iter().map(|package| text(package, "name").to_owned()).collect();
    assert!(there.contains(&"apache-avro".to_owned()) && !banned.is_empty(), "there is nothing to check");
    let found: Vec<_> = banned.iter().filter(|name| there.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}: deny.toml says why not; `cargo tree --invert NAME` says who brings it in");
}

#[test]
fn licences_are_judged_by_their_terms() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned);
    for (licence, is_fine) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("MIT OR LGPL-3.0-only", true),
        ("LGPL-3.0-only", false),
        ("MIT AND LGPL-3.0-only", false),
        ("", false),
        ("as you like", false),
    ] {
        assert_eq!(judge(licence, &allowed).is_ok(), is_fine, "{licence:?}");
    }
}

fn judge(licence: &str, allowed: &[String]) -> Result<(), String> {
    let expression = Expression::parse_mode(licence, ParseMode::LAX)
        .map_err(|error| format!("its licence {licence:?} is not an SPDX expression: {}", error.reason))?;
    // An exception only ever takes terms away.
    let is_allowed = |wanted: &LicenseReq| allowed.contains(&wanted.license.to_string());
    if expression.evaluate(is_allowed) { Ok(()) } else { Err(format!("its licence {licence:?} is not allowed")) }
}

/// All packages that a build for this machine can contain, in any combination of features; segue itself is left out.
fn packages() -> Vec<Value> {
    let version = run(Command::new(env!("CARGO")).arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo knows its host");
    let metadata = run(Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--all-features", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    packages.iter().filter(|package| text(package, "name") != env!("CARGO_PKG_NAME")).cloned().collect()
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}

/// The names in a list of `deny.toml`: the first text in quotes of each of its lines.
fn entries(list: &str) -> Vec<String> {
    let lines = include_str!("../deny.toml").lines().skip_while(|line| *line != format!("{list} = [")).skip(1);
    let names = lines.take_while(|line| *line != "]").filter_map(|line| line.split('"').nth(1));
    names.map(str::to_owned).collect()
}
