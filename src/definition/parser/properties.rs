//! Properties of the grammar over random trees and random text: what is printed is read back as the same tree, and no
//! text makes the parser fail in another way than by saying what is wrong.

use proptest::prelude::*;

use super::parse;
use crate::definition::keyword::{CALLS, RESERVED};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z][a-zA-Z0-9_]{0,6}".prop_filter("reserved", |name| !crate::definition::keyword::is_reserved(name)),
        1 => prop::sample::select(RESERVED).prop_map(|word| format!("`{word}`")),
        1 => prop::sample::select(CALLS).prop_map(str::to_owned),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..3).prop_map(|names| names.join("."))
}

fn duration() -> impl Strategy<Value = String> {
    prop::collection::vec((0..5000_u32, "[smhdw]"), 1..3)
        .prop_map(|parts| parts.into_iter().map(|(amount, unit)| amount.to_string() + &unit).collect())
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        "0|-?[1-9][0-9]{0,8}(\\.[0-9]{0,5}[1-9])?",
        any::<String>().prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
        "true|FALSE",
        duration(),
        duration().prop_map(|duration| format!("-{duration}")),
        "20[0-9]{2}-(0[1-9]|1[0-2])-[0-2][1-8](T[01][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,4})?(Z|[+-][01][0-9]:30))?",
    ]
}

/// The text of an expression that a filter may hold, and of any when `outside` one. Every part stands in parentheses,
/// so that the tree is the one drawn here whatever binds tighter.
fn expression(depth: u32, outside: bool) -> BoxedStrategy<String> {
    let leaf = prop_oneof![literal(), path()];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = expression(depth - 1, outside);
    let pair = (inner.clone(), inner.clone());
    let within_filter = prop_oneof![
        1 => leaf,
        12 => (
            pair.clone(),
            prop::sample::select(vec![
                "=",
                "!=",
                "<",
                ">=",
                "+",
                "-",
                "*",
                "/",
                "and",
                "or",
                "not contains",
                "starts with",
                "ends with"
            ])
        )
            .prop_map(|((a, b), op)| format!("({a}) {op} ({b})")),
        1 => prop::collection::vec(inner.clone(), 2..4).prop_map(|sides| format!("({})", sides.join(") and ("))),
        1 => inner.clone().prop_map(|a| format!("not ({a})")),
        1 => inner.clone().prop_map(|a| format!("-({a})")),
        1 => inner.clone().prop_map(|a| format!("({a}) is not known")),
        1 => (inner.clone(), pair.clone()).prop_map(|(a, (b, c))| format!("({a}) not between ({b}) and ({c})")),
        1 => (inner.clone(), prop::collection::vec(literal(), 1..4))
            .prop_map(|(a, l)| format!("({a}) in ({})", l.join(", "))),
        1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|all| format!("coalesce(({}))", all.join("), ("))),
    ];
    if !outside {
        return within_filter.boxed();
    }
    prop_oneof![
        16 => within_filter,
        1 => (inner.clone(), duration()).prop_map(|(a, d)| format!("({a}) for {d}")),
        1 => Just("now".to_owned()),
        1 => name().prop_map(|name| format!("trait.{name}")),
        1 => inner.prop_map(|a| format!("age(({a}))")),
        3 => aggregate(depth),
        1 => aggregate(depth).prop_map(|a| format!("percentile({a})")),
    ]
    .boxed()
}

fn filter(depth: u32) -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), expression(depth - 1, false).prop_map(|filter| format!(" where {filter}"))]
}

fn aggregate(depth: u32) -> BoxedStrategy<String> {
    let window = prop_oneof![
        Just(String::new()),
        duration().prop_map(|d| format!(" over {d}")),
        "20[0-9]{2}-01-01".prop_map(|i| format!(" since {i}")),
        "day|week|month|year".prop_map(|unit| format!(" this {unit}")),
        (name(), filter(depth)).prop_map(|(event, filter)| format!(" since last({event}{filter})")),
    ];
    let values = (prop::sample::select(vec!["first", "last", "sum", "top", "list"]), prop::bool::ANY, name(), path());
    prop_oneof![
        (pattern(depth), window.clone()).prop_map(|(pattern, window)| format!("did({pattern}{window})")),
        (values, filter(depth), window).prop_map(|((function, each, event, path), filter, window)| {
            format!("{function}({}{event}.{path}{filter}{window})", if each { "each " } else { "" })
        }),
    ]
    .boxed()
}

fn pattern(depth: u32) -> BoxedStrategy<String> {
    let step = (name(), filter(depth)).prop_map(|(event, filter)| format!("{event}{filter}")).boxed();
    if depth <= 1 {
        return step;
    }
    let part = prop_oneof![2 => step.clone(), 1 => pattern(depth - 1).prop_map(|inner| format!("({inner})"))];
    let on = prop_oneof![
        Just(String::new()),
        path().prop_map(|a| format!(" on {a}")),
        (path(), path()).prop_map(|(a, b)| format!(" on {a} = {b}")),
    ];
    prop_oneof![
        step,
        (part.clone(), "then|without", part.clone(), on.clone(), duration())
            .prop_map(|(a, word, b, on, d)| format!("{a} {word} {b}{on} within {d}")),
        (part.clone(), duration(), part, on).prop_map(|(b, d, a, on)| format!("{b} after {d} without {a}{on}")),
    ]
    .boxed()
}

/// Pieces that are almost always wrong next to each other.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(RESERVED).prop_map(str::to_owned),
        2 => "[()=<>!+*/.,#'\"`\\\\-]",
        2 => literal(),
        2 => name(),
        1 => "(did|count|sum|last|since last|age|percentile|coalesce|segment)\\(",
        1 => any::<String>(),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.join(" "))
}

/// Every problem can be shown: its place is in the text, and it says something.
fn check_outcome(text: &str) {
    if let Err(problems) = parse(text) {
        assert!(!problems.is_empty(), "{text}");
        for problem in problems {
            let (start, end) = (problem.span.start, problem.span.end);
            assert!(text.get(start..end).is_some(), "{text}: {problem:?}");
            assert!(!problem.message.is_empty() && problem.code.starts_with("SEG0"));
        }
    }
}

/// Without the places, which differ between two texts of one tree.
fn shape(text: &str) -> String {
    let tree = format!("{:?}", parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}")));
    let mut shape = String::new();
    let mut rest = tree.as_str();
    while let Some((before, behind)) = rest.split_once("Span { start: ") {
        shape.push_str(before);
        rest = behind.split_once(" }").map_or("", |(_, rest)| rest);
    }
    shape + rest
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_as_the_same_tree(text in expression(3, true)) {
        let printed = parse(&text).unwrap_or_else(|problems| panic!("{text}\n{problems:?}")).to_string();
        let again = parse(&printed).unwrap_or_else(|problems| panic!("{text}\n{printed}\n{problems:?}"));
        prop_assert_eq!(&printed, &again.to_string(), "{}", text);
        prop_assert_eq!(shape(&text), shape(&printed), "{}\n{}", text, printed);
    }

    #[test]
    fn no_text_breaks_the_parser(text in soup()) {
        check_outcome(&text);
    }

    #[test]
    fn no_change_to_an_expression_breaks_the_parser(
        text in expression(2, true), at in any::<prop::sample::Index>(), length in 0..4_usize, put in "\\PC{0,3}",
    ) {
        let mut characters: Vec<char> = text.chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, put.chars());
        check_outcome(&characters.into_iter().collect::<String>());
    }
}
