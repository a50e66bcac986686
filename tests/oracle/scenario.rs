//! Scenarios worked out by hand from the specification: definition files with their tests, as `segue test` reads them.
//!
//! A first line `# settings: timezone=Europe/Berlin grace=1000` sets what a definition file cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use segue::definition::ast::Expr;
use segue::definition::parser::parse;
use serde_json::{Map, Value as Json};

use crate::calendar::parse_instant;
use crate::case::Case;
use crate::definitions::{Group, Segment, Set};
use crate::engine::{Disagreement, Engine};
use crate::record::{FieldType, shipped_schemas};
use crate::replay::{Change, Settings, World, replay};
use crate::vocabulary::{shop_schemas, site_schemas};

/// A printed case, to be run again.
pub(crate) fn pasted(text: &str) -> Case {
    let (definitions, events) = text.split_once("---\n").expect("definitions, then events");
    let documents = Yaml::load_from_str(definitions).expect("YAML");
    let lines = events.lines().filter(|line| line.starts_with('{'));
    let is_site = site_schemas().keys().any(|name| text.contains(name));
    Case {
        set: set(&json(&documents[0])),
        schemas: if is_site { site_schemas() } else { shop_schemas() },
        lines: lines.map(|line| serde_json::from_str(line).expect("JSON")).collect(),
        settings: settings(text),
    }
}

/// A definition file with tests.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) file: String,
    pub(crate) set: Set,
    pub(crate) settings: Settings,
    pub(crate) tests: Vec<Test>,
}

/// One test: records, and what must follow.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) lines: Vec<Json>,
    expect: Vec<Expectation>,
    changes: Option<Vec<(String, i64, String, bool)>>,
}

#[derive(Debug)]
struct Expectation {
    at: i64,
    customer: String,
    inside: Vec<String>,
    outside: Vec<String>,
}

/// The customer of events that name none.
const FILLED_IN: &str = "customer";

/// All scenarios, by file name.
pub(crate) fn all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| load(file)).collect()
}

fn load(file: &Path) -> Scenario {
    let text = std::fs::read_to_string(file).expect("a readable file");
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let root = json(&documents[0]);
    let settings = settings(&text);
    let zone = TimeZone::get(&settings.zone).expect("a known zone");
    Scenario {
        file: file.file_stem().expect("a name").to_string_lossy().into_owned(),
        set: set(&root),
        tests: list(&root, "tests").iter().map(|test| read_test(test, &zone)).collect(),
        settings,
    }
}

pub(crate) fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    let line = text.lines().next().and_then(|line| line.strip_prefix("# settings: ")).unwrap_or_default();
    for setting in line.split_whitespace() {
        match setting.split_once('=') {
            Some(("timezone", zone)) => zone.clone_into(&mut settings.zone),
            Some(("grace", ms)) => settings.grace_ms = ms.parse().expect("milliseconds"),
            Some(("allowed_lateness", ms)) => settings.allowed_lateness_ms = ms.parse().expect("milliseconds"),
            Some(("dedup_window", ms)) => settings.dedup_window_ms = ms.parse().expect("milliseconds"),
            Some(("dedup_ids", count)) => settings.dedup_ids = count.parse().expect("a count"),
            Some(("percentile_refresh", ms)) => settings.percentile_refresh_ms = ms.parse().expect("milliseconds"),
            Some(("until", at)) => settings.until = parse_instant(at, &TimeZone::UTC),
            other => panic!("no such setting: {other:?}"),
        }
    }
    settings
}

pub(crate) fn json(yaml: &Yaml<'_>) -> Json {
    match yaml {
        Yaml::Value(Scalar::Boolean(truth)) => Json::Bool(*truth),
        Yaml::Value(Scalar::Integer(number)) => Json::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => serde_json::from_str(&number.to_string()).expect("a number"),
        Yaml::Value(Scalar::String(text)) => Json::String(text.to_string()),
        Yaml::Sequence(items) => Json::Array(items.iter().map(json).collect()),
        Yaml::Mapping(entries) => Json::Object(
            entries.iter().map(|(key, value)| (key.as_str().expect("a text key").to_owned(), json(value))).collect(),
        ),
        _ => Json::Null,
    }
}

fn list<'a>(of: &'a Json, key: &str) -> &'a [Json] {
    of.get(key).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(of: &'a Json, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Json::as_str)
}

fn name(of: &Json) -> String {
    text(of, "name").expect("a name").to_owned()
}

fn expression(of: &Json, key: &str) -> Option<Expr> {
    let written = match of.get(key)? {
        Json::String(written) => written.clone(),
        other => other.to_string(),
    };
    Some(parse(&written).unwrap_or_else(|problems| panic!("{written}: {problems:?}")))
}

pub(crate) fn set(root: &Json) -> Set {
    let purpose = |of: &Json| text(of, "purpose").map(str::to_owned);
    let carry = |of: &Json| list(of, "carry").iter().filter_map(Json::as_str).map(str::to_owned).collect();
    let when = |of: &Json, key| expression(of, key).expect("an expression");
    Set {
        profile: list(root, "profile")
            .iter()
            .map(|of| (name(of), profile_type(text(of, "type").expect("a type"))))
            .collect(),
        traits: list(root, "traits").iter().map(|of| (name(of), when(of, "value"))).collect(),
        segments: list(root, "segments")
            .iter()
            .map(|of| Segment {
                name: name(of),
                when: when(of, "when"),
                until: expression(of, "until"),
                purpose: purpose(of),
                carry: carry(of),
            })
            .collect(),
        groups: list(root, "groups")
            .iter()
            .map(|of| {
                let tiers = list(of, "tiers").iter().map(|tier| (name(tier), when(tier, "when"))).collect();
                Group { name: name(of), purpose: purpose(of), tiers, carry: carry(of) }
            })
            .collect(),
    }
}

fn profile_type(named: &str) -> FieldType {
    match named {
        "bool" => FieldType::Bool,
        "number" => FieldType::Number,
        "text" => FieldType::Text,
        "instant" => FieldType::Instant,
        "list of text" => FieldType::ListOf(Box::new(FieldType::Text)),
        other => panic!("no such type: {other}"),
    }
}

fn read_test(test: &Json, zone: &TimeZone) -> Test {
    let lines: Vec<Json> = list(test, "events").iter().enumerate().map(|(index, event)| line(index, event)).collect();
    let at = |of: &Json| match &of["at"] {
        Json::String(written) => parse_instant(written, zone).expect("an instant"),
        other => other.as_i64().expect("milliseconds"),
    };
    let ids: BTreeSet<&str> = lines.iter().filter_map(|line| text(line, "customer_id")).collect();
    let only = if ids.len() == 1 { ids.first().copied().unwrap_or(FILLED_IN) } else { FILLED_IN };
    let customer = |of: &Json| text(of, "customer").unwrap_or(only).to_owned();
    let names = |of: &Json, key| list(of, key).iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
    let change = |of: &Json| {
        (customer(of), at(of), text(of, "segment").expect("a segment").to_owned(), of["change"] == "entered")
    };
    Test {
        name: name(test),
        expect: list(test, "expect")
            .iter()
            .map(|of| Expectation {
                at: at(of),
                customer: customer(of),
                inside: names(of, "in"),
                outside: names(of, "out"),
            })
            .collect(),
        changes: test.get("changes").map(|_| list(test, "changes").iter().map(change).collect()),
        lines,
    }
}

/// An event of a test as a line of a replay.
fn line(index: usize, event: &Json) -> Json {
    let mut line: Map<String, Json> = event.as_object().expect("an event").clone();
    if let Some(at) = line.remove("at") {
        line.insert("occurred_at".to_owned(), at);
    }
    line.entry("event_id").or_insert_with(|| Json::String(format!("filled-{index}")));
    line.entry("customer_id").or_insert_with(|| Json::String(FILLED_IN.to_owned()));
    Json::Object(line)
}

impl Test {
    /// The clock runs on to the last instant that is looked at.
    pub(crate) fn settings(&self, of: &Scenario) -> Settings {
        let expected = self.expect.iter().map(|expectation| expectation.at);
        let changed = self.changes.iter().flatten().map(|(_, at, ..)| *at);
        Settings { until: expected.chain(changed).max(), ..of.settings.clone() }
    }

    /// What the oracle says.
    pub(crate) fn oracle(&self, of: &Scenario) -> Vec<Change> {
        replay(&World::new(of.set.clone(), shipped_schemas(), self.settings(of)), &self.lines)
    }

    /// What the engine says.
    pub(crate) fn engine(&self, of: &Scenario, engine: &Engine) -> Result<Vec<Change>, Disagreement> {
        engine.changes(&crate::print::file(&of.set), &shipped_schemas(), &self.settings(of), &self.lines, None)
    }

    /// What is wrong with some changes.
    pub(crate) fn complaints(&self, changes: &[Change]) -> Vec<String> {
        let mut complaints = vec![];
        for Expectation { at, customer, inside, outside } in &self.expect {
            let members = members(changes, customer, *at);
            let instant = crate::print::rfc3339(*at);
            complaints.extend(
                inside
                    .iter()
                    .filter(|name| !members.contains(*name))
                    .map(|name| format!("{instant} {customer} is not in {name}")),
            );
            complaints.extend(
                outside
                    .iter()
                    .filter(|name| members.contains(*name))
                    .map(|name| format!("{instant} {customer} is in {name}")),
            );
        }
        if let Some(expected) = &self.changes {
            let mut wanted: BTreeMap<&str, Vec<_>> = BTreeMap::new();
            let mut got: BTreeMap<&str, Vec<_>> = BTreeMap::new();
            for (customer, at, segment, entered) in expected {
                wanted.entry(customer).or_default().push((*at, segment.as_str(), *entered));
            }
            for change in changes {
                got.entry(&change.customer).or_default().push((change.at, change.segment.as_str(), change.entered));
            }
            if wanted != got {
                complaints.push(format!(
                    "changes are\n    {}",
                    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
                ));
            }
        }
        complaints
    }
}

fn members(changes: &[Change], customer: &str, at: i64) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    for change in changes.iter().filter(|change| change.customer == customer && change.at <= at) {
        if change.entered {
            members.insert(change.segment.clone());
        } else {
            members.remove(&change.segment);
        }
    }
    members
}
