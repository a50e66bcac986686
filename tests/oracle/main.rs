//! The correctness oracle: a naive evaluator that keeps every record and recomputes everything, against the engine.

#![allow(clippy::expect_used, reason = "a test may be blunt, and so may what serves only tests")]

mod buckets;
mod calendar;
mod case;
mod customer;
mod definitions;
mod engine;
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
use engine::{Engine, schemas_of};
use segue::definition::parser::parse;

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

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn the_engine_says_what_the_scenarios_say() {
    let engine = Engine::new();
    let mut complaints = vec![];
    for scenario in scenario::all() {
        for test in &scenario.tests {
            let said = format!("{}: {}", scenario.file, test.name);
            match test.engine(&scenario, &engine) {
                Err(disagreement) => complaints.push(format!("{said}: {}", disagreement.words)),
                Ok(found) => complaints.extend(
                    engine::difference(&test.oracle(&scenario), &found).map(|words| format!("{said}: {words}")),
                ),
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// `SEGUE_ORACLE_SEED` is the first seed, `SEGUE_ORACLE_CASES` how many follow, for hours if wanted. A case that fails is
/// shrunk (the first `SEGUE_ORACLE_SHRUNK` of them) and printed with its seed, ready to be pasted.
#[test]
fn the_engine_and_the_oracle_agree() {
    let engine = Engine::new();
    let first = setting("SEGUE_ORACLE_SEED", 1);
    let most_shrunk = setting("SEGUE_ORACLE_SHRUNK", 3);
    let mut failing = vec![];
    std::panic::set_hook(Box::new(|_| {}));
    for seed in first..first + setting("SEGUE_ORACLE_CASES", 3000) {
        let case = Case::of_seed(seed, &schemas_of(seed));
        let Some(disagreement) = engine.disagreement(&case) else { continue };
        let kind = disagreement.kind;
        println!("seed {seed}: {kind:?}");
        if (failing.len() as u64) < most_shrunk {
            let least = shrink::shrink(case, &|case| engine.disagreement(case).is_some_and(|other| other.kind == kind));
            let words = engine.disagreement(&least).map(|least| least.words).unwrap_or_default();
            println!("{least}{words}");
        }
        failing.push(seed);
    }
    let _ = std::panic::take_hook();
    assert!(failing.is_empty(), "the two differ for seeds {failing:?}");
}

/// `SEGUE_ORACLE_CASE` names a file with a printed case.
#[test]
fn a_pasted_case_agrees() {
    let Ok(file) = std::env::var("SEGUE_ORACLE_CASE") else { return };
    let case = scenario::pasted(&std::fs::read_to_string(file).expect("a readable file"));
    let disagreement = Engine::new().disagreement(&case);
    assert!(disagreement.is_none(), "{case}{}", disagreement.map(|found| found.words).unwrap_or_default());
    println!("both say {:#?}", case.expected().iter().map(ToString::to_string).collect::<Vec<_>>());
}

#[test]
fn random_expressions_are_read_as_they_were_meant() {
    for seed in 0..500 {
        let case = Case::of_seed(seed, &schemas_of(seed));
        for expr in case.set.expressions() {
            let text = print::text(expr);
            let read = parse(&text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(print::text(&read), text);
        }
    }
}

#[test]
fn the_oracle_answers_every_case() {
    let answered = (0..300).filter(|seed| !Case::of_seed(*seed, &schemas_of(*seed)).expected().is_empty()).count();
    assert!(answered > 150, "only {answered} of 300 cases bring any change about");
}

#[test]
fn a_case_shrinks_to_what_matters() {
    let leaves_by_time = |case: &Case| {
        let changes = std::panic::catch_unwind(|| case.expected()).unwrap_or_default();
        changes.iter().any(|change| !change.entered && change.cause == "time")
    };
    let large =
        (0..1000).map(|seed| Case::of_seed(seed, &schemas_of(seed))).find(|case| leaves_by_time(case)).expect("one");
    let least = shrink::shrink(large, &leaves_by_time);
    assert!(leaves_by_time(&least));
    assert_eq!((least.lines.len(), least.set.segments.len() + least.set.groups.len()), (1, 1), "{least}");
}
