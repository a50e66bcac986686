//! The tests that definition files hold. `segments.md` section 8.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{OfferError, Options, Replay};
use crate::definition::{ExpectedChange, TestCase};
use crate::engine::catalog::Catalog;
use crate::engine::effects::{Change, Refusal};
use crate::engine::record::Origin;
use crate::wire::schema::SchemaSet;

/// A difference between what a test expects and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Line of the expectation in the test's file.
    pub line: usize,
    /// What was expected and what was found, in words.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Runs one test of a definition file; every way in which it fails.
#[must_use]
pub fn run_case(catalog: &Arc<Catalog>, schemas: &SchemaSet, case: &TestCase) -> Vec<Failure> {
    let mut replay = Replay::new(catalog.clone(), schemas, Options::default());
    let mut failures = Vec::new();
    for event in &case.events {
        match replay.offer_json(event.json.to_string().as_bytes(), &Origin::default()) {
            // As live: what comes too late is left out, and that may be what the test shows.
            Ok(_) | Err(OfferError::Refused(Refusal::TooLate)) => {}
            Err(error) => {
                failures.push(Failure { line: event.line, message: format!("this event does not count: {error}") });
            }
        }
    }
    let last_expected = case.expect.iter().map(|expectation| expectation.at);
    let last_changed = case.changes.iter().flatten().map(|change| change.at);
    if let Some(end) = last_expected.chain(last_changed).max()
        && let Err(error) = replay.advance_past(end)
    {
        failures.push(Failure { line: case.line, message: error.to_string() });
    }
    let changes = replay.take_changes();
    check_memberships(case, &changes, &mut failures);
    if let Some(expected) = &case.changes {
        check_changes(case, expected, &changes, &mut failures);
    }
    failures
}

fn check_memberships(case: &TestCase, changes: &[Change], failures: &mut Vec<Failure>) {
    for expectation in &case.expect {
        let is_in = |segment: &str| {
            let last = changes.iter().rfind(|change| {
                change.customer_id == expectation.customer && &*change.segment == segment && change.at <= expectation.at
            });
            last.is_some_and(|change| change.entered)
        };
        let wrongly_out =
            expectation.inside.iter().filter(|segment| !is_in(segment)).map(|segment| (segment, "in", "out"));
        let wrongly_in =
            expectation.outside.iter().filter(|segment| is_in(segment)).map(|segment| (segment, "out", "in"));
        for (segment, expected, found) in wrongly_out.chain(wrongly_in) {
            let (customer, at) = (&expectation.customer, instant_text(expectation.at));
            let message = format!("at {at} customer `{customer}` should be {expected} of `{segment}` but is {found}")
                .replace("in of", "in");
            failures.push(Failure { line: expectation.line, message });
        }
    }
}

/// Compares customer by customer: between customers changes have no order.
fn check_changes(case: &TestCase, expected: &[ExpectedChange], changes: &[Change], failures: &mut Vec<Failure>) {
    let mut customers: BTreeMap<&str, (Vec<&ExpectedChange>, Vec<String>)> = BTreeMap::new();
    for change in expected {
        customers.entry(&change.customer).or_default().0.push(change);
    }
    for change in changes {
        let line = line_of(change.at, &change.customer_id, &change.segment, change.entered);
        customers.entry(&change.customer_id).or_default().1.push(line);
    }
    for (expected, found) in customers.values() {
        failures.extend(first_difference(case, expected, found));
    }
}

fn first_difference(case: &TestCase, expected: &[&ExpectedChange], found: &[String]) -> Option<Failure> {
    for (place, expected) in expected.iter().enumerate() {
        let wanted = line_of(expected.at, &expected.customer, &expected.segment, expected.entered);
        let found = found.get(place);
        if found != Some(&wanted) {
            let found = found.map_or_else(|| "there is none".to_owned(), |found| format!("is\n    {found}"));
            let message = format!("change {} should be\n    {wanted}\nbut {found}", place + 1);
            return Some(Failure { line: expected.line, message });
        }
    }
    let surplus = found.get(expected.len())?;
    let message = format!("there is a change that the test does not list:\n    {surplus}");
    Some(Failure { line: case.line, message })
}

fn line_of(at: i64, customer: &str, segment: &str, entered: bool) -> String {
    let verb = if entered { "entered" } else { "left" };
    format!("{} {customer} {verb} {segment}", instant_text(at))
}

fn instant_text(instant_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(instant_ms).map_or_else(|_| instant_ms.to_string(), |instant| instant.to_string())
}
