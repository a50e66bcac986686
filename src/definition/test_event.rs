//! Checks a record of a test against the schemas: its type, the names of its fields, and what they hold.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::engine::schema::{Field, FieldType};
use crate::engine::value::Type;

use super::diagnostic::nearest;
use super::entries::{Entries, Reader};
use super::json;
use super::source::{Place, Problem};
use super::test_case::TestNames;
use super::yaml::{Node, NodeKind};

/// Records that are not events, with their fields after the envelope.
const CONTROL_RECORDS: [(&str, &[&str]); 3] =
    [("profile", &["traits"]), ("consent", &["purpose", "granted", "source"]), ("erasure", &["reason"])];
/// Keys that every record may have; `at` is short for `occurred_at`.
const ENVELOPE: [&str; 5] = ["type", "at", "event_id", "customer_id", "occurred_at"];

/// Checks one record.
pub(super) struct EventChecker<'a, 'p> {
    pub(super) reader: &'a mut Reader<'p>,
    pub(super) names: &'a TestNames<'a>,
}

impl EventChecker<'_, '_> {
    /// The record's instant, epoch milliseconds; `None` after a problem that leaves it without one.
    pub(super) fn check(&mut self, node: &Node) -> Option<i64> {
        let entries = self.reader.all_entries(node, "an event", "at`, `type")?;
        for key in ["event_id", "customer_id"] {
            if let Some(node) = entries.get(key) {
                self.expect_text(node, key);
            }
        }
        let is_told = entries.get("type").is_none() && self.misspelt(&entries, "type");
        if !is_told && let Some(event_type) = self.reader.required_text(&entries, "type") {
            self.fields(&event_type.value, event_type.place, &entries);
        }
        let node = match (entries.get("at"), entries.get("occurred_at")) {
            (None, Some(node)) => node,
            _ => self.reader.required(&entries, "at")?,
        };
        instant(self.reader, node, "`at`", self.names.time_zone)
    }

    /// Whether a key that is missing was written with a slip, which is then told.
    fn misspelt(&mut self, entries: &Entries<'_>, key: &str) -> bool {
        let slip = entries.iter().find(|(written, _, _)| nearest(written, [key]).is_some());
        let Some((written, place, _)) = slip else { return false };
        let problem = Problem::new("unknown-key", place, format!("an event has no key `{written}`"));
        self.reader.report(problem.help(format!("did you mean `{key}`?")));
        true
    }

    fn fields(&mut self, event_type: &str, place: Place, entries: &Entries<'_>) {
        if let Some(schema) = self.names.schemas.events.get(event_type) {
            let what = format!("`{event_type}`");
            self.record(&what, &schema.fields, entries, &ENVELOPE);
        } else if let Some((_, fields)) = CONTROL_RECORDS.iter().find(|(name, _)| *name == event_type) {
            self.control_record(event_type, fields, entries);
        } else {
            let names = self.names.schemas.events.keys().map(String::as_str);
            let names = names.chain(CONTROL_RECORDS.iter().map(|(name, _)| *name));
            let help = nearest(event_type, names).map(|near| format!("did you mean `{near}`?"));
            let message = format!("there is no event type `{event_type}`");
            self.reader.report(Problem::new("unknown-event", place, message).help_if(help));
        }
    }

    fn record(&mut self, what: &str, fields: &[Field], entries: &Entries<'_>, besides: &[&str]) {
        for (key, place, node) in entries.iter().filter(|(key, _, _)| !besides.contains(key)) {
            let Some(field) = fields.iter().find(|field| field.name == key) else {
                let near = nearest(key, fields.iter().map(|field| field.name.as_str()));
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("its fields are `{}`", names.join("`, `")),
                };
                let problem = Problem::new("unknown-field", place, format!("{what} has no field `{key}`"));
                self.reader.report(problem.help(help));
                continue;
            };
            self.value(key, &field.field_type, node);
        }
    }

    fn control_record(&mut self, record: &str, fields: &[&str], entries: &Entries<'_>) {
        let mut meant = Vec::new();
        for (key, place, _) in entries.iter().filter(|(key, _, _)| !ENVELOPE.contains(key)) {
            if !fields.contains(&key) {
                meant.extend(nearest(key, fields.iter().copied()));
                let help = match nearest(key, fields.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it has `{}`", fields.join("`, `")),
                };
                let message = format!("a {record} record has no field `{key}`");
                self.reader.report(Problem::new("unknown-field", place, message).help(help));
            }
        }
        match record {
            "profile" => {
                if meant.contains(&"traits") {
                    return;
                }
                let Some(node) = self.reader.required(entries, "traits") else { return };
                let Some(traits) = self.reader.all_entries(node, "`traits`", "NAME: VALUE") else { return };
                for (key, place, _) in traits.iter().filter(|(key, _, _)| !self.names.profile.contains(key)) {
                    let help = match nearest(key, self.names.profile.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "declare it under `profile:`".to_owned(),
                    };
                    let message = format!("there is no profile trait `{key}`");
                    self.reader.report(Problem::new("unknown-trait", place, message).help(help));
                }
            }
            "consent" => {
                let types = [("purpose", Type::Text), ("granted", Type::Bool)];
                for (key, value_type) in types.into_iter().filter(|(key, _)| !meant.contains(key)) {
                    if let Some(node) = self.reader.required(entries, key) {
                        self.value(key, &FieldType::Scalar(value_type), node);
                    }
                }
            }
            _ => {}
        }
    }

    fn expect_text(&mut self, node: &Node, key: &str) {
        self.value(key, &FieldType::Scalar(Type::Text), node);
    }

    /// A null is unknown, whatever the type; all else must be of the kind the schema says.
    fn value(&mut self, key: &str, field_type: &FieldType, node: &Node) {
        let value = json::from_yaml(node);
        let (fits, expected) = match field_type {
            _ if value.is_null() => return,
            FieldType::Scalar(Type::Text) => (value.is_string(), "a text"),
            FieldType::Scalar(Type::Bool) => (value.is_boolean(), "`true` or `false`"),
            FieldType::Scalar(Type::Number) => (is_number(&value), "a number"),
            FieldType::Scalar(Type::Instant) => (value.is_string() || value.is_number(), "an instant"),
            FieldType::Scalar(Type::Duration | Type::List(_)) | FieldType::Other(_) => return,
            FieldType::Record(fields) => {
                if let NodeKind::Mapping(_) = node.kind {
                    if let Some(entries) = self.reader.all_entries(node, "a record", "its fields") {
                        self.record(&format!("`{key}`"), fields, &entries, &[]);
                    }
                    return;
                }
                (false, "a record with fields of its own")
            }
            FieldType::Array(item) => {
                if let NodeKind::Sequence(items) = &node.kind {
                    for element in items {
                        self.value(key, item, element);
                    }
                    return;
                }
                (false, "a list")
            }
        };
        if !fits {
            let help = match (&value, field_type) {
                (Value::Number(_) | Value::Bool(_), FieldType::Scalar(Type::Text)) => {
                    node.as_scalar().map(|scalar| format!("write it in quotes: \"{}\"", scalar.value))
                }
                _ => None,
            };
            let message = format!("`{key}` is {expected}, but this is {}", json_kind(&value));
            self.reader.report(Problem::new("wrong-kind", self.reader.place(node), message).help_if(help));
        }
    }
}

fn is_number(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| text.trim().parse::<rust_decimal::Decimal>().is_ok())
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a set of keys",
    }
}

/// An instant as RFC 3339 text, epoch milliseconds, or a date for its midnight.
pub(super) fn instant(reader: &mut Reader<'_>, node: &Node, what: &str, time_zone: &TimeZone) -> Option<i64> {
    let text = reader.text(node, what)?;
    let found = parse_instant(text.value.trim(), time_zone);
    if found.is_none() {
        let message = format!("{what} is an instant, but `{}` is not", text.value);
        let help = "write it like 2026-01-01T10:00:00Z, like 2026-01-01 for its midnight, or as epoch milliseconds";
        reader.report(Problem::new("bad-instant", text.place, message).help(help));
    }
    found
}

fn parse_instant(text: &str, time_zone: &TimeZone) -> Option<i64> {
    if let Ok(epoch_ms) = text.parse::<i64>() {
        return Timestamp::from_millisecond(epoch_ms).is_ok().then_some(epoch_ms);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let date = text.parse::<Date>().ok().filter(|_| text.len() == "2026-01-01".len())?;
    date.to_zoned(time_zone.clone()).ok().map(|midnight| midnight.timestamp().as_millisecond())
}
