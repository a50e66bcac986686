//! The `tests` of a set: what happens to a customer, and where that must lead. Checked here, run elsewhere.
//!
//! `changes` is the exact list of changes over the whole test, in order:
//! `- {at: 2026-01-01T11:00:00Z, segment: cart_abandoner, change: entered}`, with `customer` where the test has several.

use hashbrown::HashSet;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::engine::schema::Schemas;

use super::diagnostic::nearest;
use super::entries::{Entries, Reader};
use super::json;
use super::source::{Place, Problem, SourceFile, Text};
use super::test_event::{EventChecker, instant};
use super::yaml::Node;

/// The customer of events that do not name one.
pub const DEFAULT_CUSTOMER: &str = "customer";

/// A test of a set of definitions.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// The file it is in, as the user would name it.
    pub file: String,
    /// Its line there, from 1.
    pub line: usize,
    /// What happens, in order of arrival.
    pub events: Vec<TestEvent>,
    /// Who must be a member when, in the order written.
    pub expect: Vec<Expectation>,
    /// The exact changes over the whole test.
    pub changes: Option<Vec<ExpectedChange>>,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct TestEvent {
    /// Its line in the test's file.
    pub line: usize,
    /// Whom it is about.
    pub customer: String,
    /// When it happens, epoch milliseconds.
    pub occurred_at: i64,
    /// The whole record in the shape that replays read, `event_id` and `customer_id` filled in.
    pub json: Value,
}

/// Where a customer must be at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its line in the test's file.
    pub line: usize,
    /// When, epoch milliseconds.
    pub at: i64,
    /// Who.
    pub customer: String,
    /// Segments the customer must be in (`in`).
    pub inside: Vec<String>,
    /// Segments the customer must not be in (`out`).
    pub outside: Vec<String>,
}

/// A change that must happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedChange {
    /// Its line in the test's file.
    pub line: usize,
    /// When it becomes true, epoch milliseconds.
    pub at: i64,
    /// Whose.
    pub customer: String,
    /// The segment or tier.
    pub segment: String,
    /// Entered, or left.
    pub entered: bool,
}

/// A test as it is written.
#[derive(Debug)]
pub(super) struct TestSpec {
    pub(super) file: usize,
    pub(super) node: Node,
}

/// What a test may name.
pub(super) struct TestNames<'a> {
    pub(super) files: &'a [SourceFile],
    pub(super) schemas: &'a Schemas,
    pub(super) time_zone: &'a TimeZone,
    /// Names of profile traits.
    pub(super) profile: Vec<&'a str>,
    /// Names of segments and tiers.
    pub(super) segments: Vec<&'a str>,
    /// The same, to look one up.
    pub(super) segment_set: HashSet<&'a str>,
}

/// Reads and checks a test.
pub(super) fn check(spec: &TestSpec, names: &TestNames<'_>, problems: &mut Vec<Problem>) -> Option<TestCase> {
    let text = names.files.get(spec.file).map_or("", |file| file.text.as_str());
    let mut reader = Reader { file: spec.file, text, problems };
    let entries = reader.entries(&spec.node, "a test", &["name", "description", "events", "expect", "changes"])?;
    let name = reader.required_text(&entries, "name").map(|text| text.value).unwrap_or_default();
    let mut test = TestReader { reader, names, customers: Vec::new(), known_customers: HashSet::new() };
    let events = test.events(&entries);
    let expect = test.expectations(&entries);
    let changes = entries.get("changes").map(|node| test.changes(node));
    if entries.get("expect").is_none() && entries.get("changes").is_none() {
        let help = "add `expect` (who is in which segment when) or `changes` (the exact list of changes)";
        test.reader
            .report(Problem::new("missing-key", test.reader.place(&spec.node), "this test expects nothing").help(help));
    }
    let place = test.reader.place(&spec.node);
    let file = names.files.get(spec.file).map(|file| file.name.clone()).unwrap_or_default();
    Some(TestCase { name, file, line: place.line(names.files), events, expect, changes })
}

struct TestReader<'a> {
    reader: Reader<'a>,
    names: &'a TestNames<'a>,
    /// In the order in which they appear.
    customers: Vec<String>,
    known_customers: HashSet<String>,
}

impl TestReader<'_> {
    fn line(&self, place: Place) -> usize {
        place.line(self.names.files)
    }

    fn events(&mut self, entries: &Entries<'_>) -> Vec<TestEvent> {
        let node = self.reader.required(entries, "events");
        let items = self.reader.items(node, "`events`");
        let written: Vec<Map<String, Value>> = items
            .iter()
            .map(|item| match json::from_yaml(item) {
                Value::Object(object) => object,
                _ => Map::new(),
            })
            .collect();
        let taken: HashSet<String> =
            written.iter().filter_map(|event| event.get("event_id")?.as_str().map(str::to_owned)).collect();
        let mut free = (1..).map(|number| format!("test-{number}")).filter(|id| !taken.contains(id));
        let mut events = Vec::new();
        for (item, object) in items.iter().zip(written) {
            let place = self.reader.place(item);
            let id = free.next().unwrap_or_default();
            let Some(occurred_at) = EventChecker { reader: &mut self.reader, names: self.names }.check(item) else {
                continue;
            };
            let event = TestEvent::new(object, occurred_at, &id, self.line(place));
            if self.known_customers.insert(event.customer.clone()) {
                self.customers.push(event.customer.clone());
            }
            events.push(event);
        }
        events
    }

    fn expectations(&mut self, entries: &Entries<'_>) -> Vec<Expectation> {
        let items = self.reader.items(entries.get("expect"), "`expect`");
        items.iter().filter_map(|item| self.expectation(item)).collect()
    }

    fn expectation(&mut self, node: &Node) -> Option<Expectation> {
        let entries = self.reader.entries(node, "an expectation", &["at", "customer", "in", "out"])?;
        let line = self.line(self.reader.place(node));
        let at = self.at(&entries);
        let customer = self.customer(&entries);
        let inside = self.segments(entries.get("in"), "`in`");
        let outside = self.segments(entries.get("out"), "`out`");
        for both in outside.iter().filter(|segment| inside.iter().any(|other| other.value == segment.value)) {
            let message = format!("a customer cannot be both in and out of `{}`", both.value);
            self.reader.report(Problem::new("contradiction", both.place, message));
        }
        let names = |segments: Vec<Text>| segments.into_iter().map(|text| text.value).collect();
        Some(Expectation { line, at: at?, customer: customer?, inside: names(inside), outside: names(outside) })
    }

    fn changes(&mut self, node: &Node) -> Vec<ExpectedChange> {
        let items = self.reader.items(Some(node), "`changes`");
        items.iter().filter_map(|item| self.change(item)).collect()
    }

    fn change(&mut self, node: &Node) -> Option<ExpectedChange> {
        let entries = self.reader.entries(node, "a change", &["at", "customer", "segment", "change"])?;
        let line = self.line(self.reader.place(node));
        let at = self.at(&entries);
        let customer = self.customer(&entries);
        let segment = self.reader.required_text(&entries, "segment").filter(|segment| self.is_segment(segment));
        let change = self.reader.required_text(&entries, "change")?;
        let entered = match change.value.as_str() {
            "entered" => true,
            "left" => false,
            other => {
                let message = format!("`change` is `entered` or `left`, not `{other}`");
                self.reader.report(Problem::new("bad-change", change.place, message));
                return None;
            }
        };
        Some(ExpectedChange { line, at: at?, customer: customer?, segment: segment?.value, entered })
    }

    fn at(&mut self, entries: &Entries<'_>) -> Option<i64> {
        let node = self.reader.required(entries, "at")?;
        instant(&mut self.reader, node, "`at`", self.names.time_zone)
    }

    /// The named customer, or the only one.
    fn customer(&mut self, entries: &Entries<'_>) -> Option<String> {
        let Some(node) = entries.get("customer") else {
            let default = self.customers.iter().any(|customer| customer == DEFAULT_CUSTOMER);
            return match self.customers.as_slice() {
                _ if default => Some(DEFAULT_CUSTOMER.to_owned()),
                [] => Some(DEFAULT_CUSTOMER.to_owned()),
                [only] => Some(only.clone()),
                several => {
                    let message = "this test has several customers: say which one is meant";
                    let help = format!("add `customer: {}`", several.first().map_or("", String::as_str));
                    self.reader.report(Problem::new("missing-key", entries.first_line(), message).help(help));
                    None
                }
            };
        };
        let customer = self.reader.text(node, "`customer`")?;
        if self.known_customers.contains(&customer.value) {
            return Some(customer.value);
        }
        let near = nearest(&customer.value, self.customers.iter().map(String::as_str));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let message = format!("no event of this test is about a customer `{}`", customer.value);
        self.reader.report(Problem::new("unknown-customer", customer.place, message).help_if(help));
        None
    }

    fn segments(&mut self, node: Option<&Node>, what: &str) -> Vec<Text> {
        let items = self.reader.items(node, what);
        let names: Vec<Text> =
            items.iter().filter_map(|item| self.reader.text(item, "the name of a segment")).collect();
        names.into_iter().filter(|name| self.is_segment(name)).collect()
    }

    fn is_segment(&mut self, name: &Text) -> bool {
        let known = self.names.segment_set.contains(name.value.as_str());
        if !known {
            let problem = super::compile::unknown_segment(&name.value, name.place, self.names.segments.iter().copied());
            self.reader.report(problem);
        }
        known
    }
}

impl TestEvent {
    fn new(mut object: Map<String, Value>, occurred_at: i64, id: &str, line: usize) -> Self {
        object.remove("at");
        object.insert("occurred_at".to_owned(), json!(occurred_at));
        let customer = object.entry("customer_id").or_insert_with(|| json!(DEFAULT_CUSTOMER));
        let customer = customer.as_str().unwrap_or_default().to_owned();
        object.entry("event_id").or_insert_with(|| json!(id));
        Self { line, customer, occurred_at, json: Value::Object(object) }
    }
}
