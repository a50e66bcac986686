//! The other side: the real engine, through its one door for replays.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use jiff::tz::TimeZone;
use segue::engine::customer::Limits;
use segue::engine::effects::Cause;
use segue::engine::value::Value;
use segue::testing::{Options, replay};
use segue::wire::schema::SchemaSet;
use serde_json::{Value as Json, json};

use crate::case::Case;
use crate::print::file;
use crate::record::{FieldType, Fields, Schemas};
use crate::replay::{Change, Settings};
use crate::value::{Val, parse_number};
use crate::vocabulary::{shop_schemas, site_schemas};

/// The schemas that cases are played with, as the engine takes them.
#[derive(Debug)]
pub(crate) struct Engine {
    shipped: SchemaSet,
    site: SchemaSet,
}

/// How the two sides come apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The engine says something else.
    Differs,
    /// The engine refuses the definitions.
    Refused,
    /// The engine panics.
    Panicked,
}

/// How the two sides come apart, in words.
#[derive(Debug)]
pub(crate) struct Disagreement {
    pub(crate) kind: Kind,
    pub(crate) words: String,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let mut files: Vec<(String, String)> = site_schemas().iter().map(|(name, of)| avro_file(name, of)).collect();
        files.extend(["profile", "consent", "erasure"].map(shipped_file));
        Self {
            shipped: SchemaSet::shipped().expect("the shipped schemas"),
            site: SchemaSet::parse(&files).expect("the random schemas"),
        }
    }

    fn schemas(&self, of: &Schemas) -> &SchemaSet {
        if of.keys().eq(site_schemas().keys()) { &self.site } else { &self.shipped }
    }

    /// What the engine says; every so many records it forgets what is in memory and reads it back.
    pub(crate) fn changes(
        &self,
        definitions: &str,
        schemas: &Schemas,
        settings: &Settings,
        lines: &[Json],
        commit_every: Option<usize>,
    ) -> Result<Vec<Change>, Disagreement> {
        let limits = Limits {
            grace_ms: settings.grace_ms,
            allowed_lateness_ms: settings.allowed_lateness_ms,
            dedup_ids: settings.dedup_ids,
            dedup_window_ms: settings.dedup_window_ms,
            percentile_refresh_ms: settings.percentile_refresh_ms,
            ..Limits::default()
        };
        let files = [("case.yaml".to_owned(), definitions.to_owned())];
        let zone = TimeZone::get(&settings.zone).expect("a known zone");
        let events = lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        let options = Options { limits, commit_every };
        let run = || replay(&files, self.schemas(schemas), zone, &events, settings.until, options);
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(replayed)) => Ok(replayed.changes.iter().map(compared).collect()),
            Ok(Err(problems)) => Err(Disagreement { kind: Kind::Refused, words: format!("{problems:#?}") }),
            Err(panic) => {
                let words = panic.downcast_ref::<String>().cloned();
                let words = words.or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()));
                Err(Disagreement { kind: Kind::Panicked, words: words.unwrap_or_default() })
            }
        }
    }

    /// How the engine comes apart from the oracle; `None` when it agrees, or the oracle gives up.
    pub(crate) fn disagreement(&self, case: &Case) -> Option<Disagreement> {
        let expected = catch_unwind(AssertUnwindSafe(|| case.expected())).ok()?;
        let definitions = file(&case.set);
        for commit_every in [None, Some(1)] {
            let said = self.changes(&definitions, &case.schemas, &case.settings, &case.lines, commit_every);
            match said {
                Err(disagreement) => return Some(disagreement),
                Ok(found) => {
                    if let Some(words) = difference(&expected, &found) {
                        let again = if commit_every.is_some() { " (read back after every record)" } else { "" };
                        return Some(Disagreement { kind: Kind::Differs, words: format!("{words}{again}") });
                    }
                }
            }
        }
        None
    }
}

/// In what the changes of each customer differ: all of each, and their order.
pub(crate) fn difference(expected: &[Change], found: &[Change]) -> Option<String> {
    let by_customer = |changes: &[Change]| {
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for change in changes {
            lists.entry(change.customer.clone()).or_default().push(change.to_string());
        }
        lists
    };
    let (expected, found) = (by_customer(expected), by_customer(found));
    let mut words = vec![];
    for customer in expected.keys().chain(found.keys()) {
        let (expected, found) = (expected.get(customer), found.get(customer));
        if expected != found && words.is_empty() {
            let lines = |list: Option<&Vec<String>>| list.map(|list| list.join("\n  ")).unwrap_or_default();
            words.push(format!("expected\n  {}\nfound\n  {}", lines(expected), lines(found)));
        }
    }
    words.pop()
}

fn compared(change: &segue::engine::effects::Change) -> Change {
    let cause = match change.cause {
        Cause::Event { .. } => "event",
        Cause::Time => "time",
        Cause::Definition => "definition",
        Cause::Consent => "consent",
        Cause::Erasure => "erasure",
    };
    Change {
        customer: change.customer_id.to_string(),
        sequence: change.sequence,
        at: change.at,
        entered: change.entered,
        segment: change.segment.to_string(),
        cause: cause.to_owned(),
        traits: match change.cause {
            Cause::Erasure => vec![],
            _ => change.traits.iter().map(|(name, value)| (name.to_string(), as_val(value))).collect(),
        },
    }
}

fn as_val(value: &Value) -> Val {
    match value {
        Value::Unknown => Val::Unknown,
        Value::Bool(truth) => Val::Bool(*truth),
        Value::Number(number) => Val::Num(parse_number(&number.to_string()).expect("a number")),
        Value::Text(text) => Val::Text(text.to_string()),
        Value::Instant(at) => Val::Instant(*at),
        Value::Duration(ms) => Val::Duration(parse_number(&ms.to_string()).expect("a number")),
        Value::List(items) => Val::List(items.iter().map(as_val).collect()),
    }
}

fn shipped_file(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{name}.avsc"));
    (format!("{name}.avsc"), std::fs::read_to_string(path).expect("a shipped schema"))
}

/// An event type as an Avro schema.
fn avro_file(name: &str, of: &Fields) -> (String, String) {
    let mut all = vec![
        json!({"name": "event_id", "type": "string"}),
        json!({"name": "customer_id", "type": "string"}),
        json!({"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}}),
    ];
    all.extend(avro_fields(name, of));
    let schema = json!({"type": "record", "namespace": "segue", "name": name, "fields": all});
    (format!("{name}.avsc"), schema.to_string())
}

fn avro_fields(prefix: &str, of: &Fields) -> Vec<Json> {
    let optional = |(name, field): &(String, FieldType)| json!({"name": name, "type": ["null", avro_type(&format!("{prefix}_{name}"), field)], "default": null});
    of.iter().map(optional).collect()
}

fn avro_type(name: &str, of: &FieldType) -> Json {
    match of {
        FieldType::Bool => json!("boolean"),
        FieldType::Number => json!({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}),
        FieldType::Text => json!("string"),
        FieldType::Instant => json!({"type": "long", "logicalType": "timestamp-millis"}),
        FieldType::ListOf(item) => json!({"type": "array", "items": ["null", avro_type(name, item)]}),
        FieldType::Record(fields) => json!({"type": "record", "name": name, "fields": avro_fields(name, fields)}),
        FieldType::ArrayOf(fields) => {
            json!({"type": "array", "items": {"type": "record", "name": name, "fields": avro_fields(name, fields)}})
        }
    }
}

/// The vocabulary of a seed.
pub(crate) fn schemas_of(seed: u64) -> Schemas {
    if seed.is_multiple_of(2) { site_schemas() } else { shop_schemas() }
}
