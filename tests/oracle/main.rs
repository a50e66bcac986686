//! The correctness oracle: a naive evaluator that keeps every record and recomputes everything, against the engine.

#![allow(clippy::expect_used, reason = "a test may be blunt, and so may what serves only tests")]

mod calendar;
mod case;
mod customer;
mod definitions;
mod evaluate;
mod events;
mod generate;
mod history;
mod print;
mod random;
mod record;
mod replay;
mod scenario;
mod shrink;
mod value;
mod vocabulary;

use case::Case;
use segue::definition::parser::parse;

/// The vocabulary of a seed.
fn schemas(seed: u64) -> record::Schemas {
    if seed.is_multiple_of(2) { vocabulary::site_schemas() } else { vocabulary::shop_schemas() }
}

#[test]
fn the_oracle_says_what_the_scenarios_say() {
    let mut complaints = vec![];
    for scenario in scenario::all() {
        for test in &scenario.tests {
            let found = test.complaints(&test.oracle(&scenario));
            complaints.extend(found.iter().map(|complaint| format!("{}: {}: {complaint}", scenario.file, test.name)));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn random_expressions_are_read_as_they_were_meant() {
    for seed in 0..500 {
        let case = Case::of_seed(seed, &schemas(seed));
        for expr in case.set.expressions() {
            let text = print::text(expr);
            let read = parse(&text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(print::text(&read), text);
        }
    }
}

#[test]
fn the_oracle_answers_every_case() {
    let answered = (0..300).filter(|seed| !Case::of_seed(*seed, &schemas(*seed)).expected().is_empty()).count();
    assert!(answered > 150, "only {answered} of 300 cases bring any change about");
}

#[test]
fn a_case_shrinks_to_what_matters() {
    let leaves_by_time = |case: &Case| {
        let changes = std::panic::catch_unwind(|| case.expected()).unwrap_or_default();
        changes.iter().any(|change| !change.entered && change.cause == "time")
    };
    let large =
        (0..1000).map(|seed| Case::of_seed(seed, &schemas(seed))).find(|case| leaves_by_time(case)).expect("one");
    let least = shrink::shrink(large, &leaves_by_time);
    assert!(leaves_by_time(&least));
    assert_eq!((least.lines.len(), least.set.segments.len() + least.set.groups.len()), (1, 1), "{least}");
}
