//! What is shipped works: the definitions in `deploy/segments` and in the examples compile and pass their own tests, every
//! one is described and tested, and what the language guide shows is true.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a panic in a test is a failed test")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::diagnostic::Diagnostic;
use segue::definition::keyword;
use segue::definition::{Definitions, TestCase, load, load_texts};
use segue::engine::catalog::Catalog;
use segue::testing::run_case;
use segue::wire::schema::SchemaSet;

#[test]
fn the_shipped_segments_pass_their_tests() {
    let definitions = load_folder("deploy/segments");
    check(&definitions);
    let count = definitions.catalog.segments.len() + definitions.catalog.traits.len();
    assert!(count >= 20, "the shipped set has shrunk to {count} segments, tiers and traits");
}

#[test]
fn the_record_shop_passes_its_tests() {
    check(&load_folder("examples/cdnow/segments"));
}

#[test]
fn every_shipped_segment_and_trait_is_described_and_tested() {
    for folder in ["deploy/segments", "examples/cdnow/segments"] {
        let definitions = load_folder(folder);
        let lacking = lacking(&definitions);
        assert!(lacking.is_empty(), "{folder}:\n{}", lacking.join("\n"));
    }
}

/// Each block of YAML in the guide is a whole file of definitions, with tests.
#[test]
fn what_the_language_guide_shows_is_true() {
    let page = fs::read_to_string(root().join("docs/language.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 9, "the guide has {} blocks", blocks.len());
    for block in blocks {
        match load_texts(&[("docs/language.md".to_owned(), block)], schemas().schemas(), TimeZone::UTC) {
            Ok(definitions) => check(&definitions),
            Err(problems) => panic!("{}", in_words(&problems)),
        }
    }
}

/// Every word of the grammar is in an example of the guide, and so in one that was run.
#[test]
fn the_language_guide_shows_every_construct() {
    let page = fs::read_to_string(root().join("docs/language.md")).unwrap();
    let examples = blocks(&page).join("\n");
    let contextual =
        ["starts with", "ends with", "is known", "is not known", "this day", "this week", "this month", "this year"];
    let negated = ["not between", "not in", "not contains", "since first", "since last", "since 2"];
    let mut wanted: Vec<String> = keyword::RESERVED.iter().map(|word| format!("{word} ")).collect();
    wanted.extend(keyword::function_names().map(|name| format!("{name}(")));
    wanted.extend(contextual.into_iter().chain(negated).map(str::to_owned));
    wanted.extend([" = ", " != ", " < ", " <= ", " > ", " >= ", " + ", " - ", " * ", " / "].map(str::to_owned));
    // Literals: each unit of a duration, compound and negative ones, instants, text with an escape, a name in backquotes.
    wanted.extend(["over 90s", "1h30m", "`", "\\\"", "Z", "# "].map(str::to_owned));
    // What is not a word as it is written.
    let ends = |word: &str| word == "trait " || word == "now " || word == "true " || word == "false ";
    let is_shown = |word: &String| match word.as_str() {
        word if ends(word) => examples.contains(word.trim_end()),
        word => examples.contains(word),
    };
    let missing: Vec<_> = wanted.iter().filter(|word| !is_shown(word)).collect();
    assert!(missing.is_empty(), "docs/language.md has no example with {missing:?}");
}

#[test]
fn the_definition_that_the_readme_explains_is_shipped() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let carts = fs::read_to_string(root().join("deploy/segments/carts.yaml")).unwrap();
    let explained = blocks(&readme).swap_remove(0);
    for line in explained.lines() {
        assert!(carts.contains(line), "deploy/segments/carts.yaml has no line {line:?}");
    }
}

/// The blocks of YAML of a page, each behind as many empty lines as its place in the page has before it: so a complaint
/// names the line of the page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut is_inside = false;
    for (index, line) in page.lines().enumerate() {
        match (is_inside, line) {
            (false, "```yaml") => blocks.push("\n".repeat(index + 1)),
            (true, "```") => {}
            (true, line) => blocks.last_mut().unwrap().extend([line, "\n"]),
            (false, _) => continue,
        }
        is_inside = line != "```";
    }
    blocks
}

/// Runs every test of a set; all differences are reported together.
fn check(definitions: &Definitions) {
    assert!(!definitions.tests.is_empty(), "a set without tests");
    let failures = failures(definitions);
    assert!(failures.is_empty(), "{failures}");
}

fn failures(definitions: &Definitions) -> String {
    let schemas = schemas();
    let catalog = Arc::new(definitions.catalog.clone());
    let mut report = String::new();
    for case in &definitions.tests {
        for failure in run_case(&catalog, &schemas, case) {
            writeln!(report, "{}: {}: {failure}", case.file, case.name).unwrap();
        }
    }
    report
}

/// What no reader or no test would know about.
fn lacking(definitions: &Definitions) -> Vec<String> {
    let Catalog { segments, traits, groups, .. } = &definitions.catalog;
    let named: BTreeSet<&str> = definitions.tests.iter().flat_map(segments_named).collect();
    // A trait shows in segments only: one that a test names uses or carries it.
    let seen = |name: &str| {
        let reference = format!("trait.{name}");
        segments.iter().filter(|segment| named.contains(segment.name.as_str())).any(|segment| {
            let texts = [Some(&segment.when_text), segment.until_text.as_ref()];
            texts.into_iter().flatten().any(|text| text.contains(&reference))
                || segment.carry.iter().any(|(carried, _)| carried == name)
        })
    };
    let undescribed = segments.iter().map(|segment| (&segment.name, &segment.description));
    let undescribed = undescribed.chain(traits.iter().map(|computed| (&computed.name, &computed.description)));
    let undescribed = undescribed.chain(groups.iter().map(|group| (&group.name, &group.description)));
    let undescribed = undescribed.filter(|(_, description)| description.trim().is_empty());
    let untested = segments.iter().map(|segment| &segment.name).filter(|name| !named.contains(name.as_str()));
    let unseen = traits.iter().map(|computed| &computed.name).filter(|name| !seen(name));
    (undescribed.map(|(name, _)| format!("{name} has no description")))
        .chain(untested.map(|name| format!("no test names {name}")))
        .chain(unseen.map(|name| format!("no segment that a test names uses or carries trait.{name}")))
        .collect()
}

fn segments_named(case: &TestCase) -> impl Iterator<Item = &str> {
    let expected = case.expect.iter().flat_map(|expectation| expectation.inside.iter().chain(&expectation.outside));
    let changed = case.changes.iter().flatten().map(|change| &change.segment);
    expected.chain(changed).map(String::as_str)
}

fn load_folder(folder: &str) -> Definitions {
    match load(&root().join(folder), schemas().schemas(), TimeZone::UTC) {
        Ok(definitions) => definitions,
        Err(problems) => panic!("{folder} has mistakes:\n{}", in_words(&problems)),
    }
}

fn in_words(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn schemas() -> SchemaSet {
    SchemaSet::shipped().expect("the shipped schemas are valid")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

#[test]
fn a_wrong_expectation_is_found() {
    let text = "
segments:
  - {name: buyer, when: did(purchase over 1d)}
tests:
  - name: a buyer for a day
    events:
      - {at: 2026-01-01T10:00:00Z, type: purchase, total: 1}
    expect:
      - {at: 2026-01-02T09:59:59.999Z, out: [buyer]}
      - {at: 2026-01-02T10:00:00Z, in: [buyer]}
";
    let definitions = load_texts(&[("set.yaml".to_owned(), text.to_owned())], schemas().schemas(), TimeZone::UTC);
    let definitions = definitions.unwrap_or_else(|problems| panic!("{}", in_words(&problems)));
    let failures = failures(&definitions);
    for line in ["line 9:", "line 10:"] {
        assert!(failures.contains(line), "{failures}");
    }
    assert_eq!(lacking(&definitions), ["buyer has no description"]);
}
