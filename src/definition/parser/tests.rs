//! What the grammar accepts, refuses and says.

use super::parse;
use crate::definition::diagnostic::Diagnostic;

/// What a reader is shown for an expression: `ok`, or each problem as `code at the marked text: message | expected | help`.
fn shown(text: &str) -> String {
    match parse(text) {
        Ok(_) => "ok".to_owned(),
        Err(problems) => problems
            .into_iter()
            .map(|problem| {
                let place = problem.span.start..problem.span.end;
                Diagnostic::of_problem("f.yaml", text, &place, problem).to_string()
            })
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn the_examples_of_the_specification_parse() {
    for text in [
        "did(cart_abandonment where cart_value >= 50 without purchase on cart_id within 1h over 7d)",
        "top(click.category over 30d)",
        "sum(purchase.total)",
        "sum(purchase.total over 365d) >= 1000",
        "did(purchase over 1h)",
        "sum(each purchase.items.price where category = \"shoes\" over 90d)",
        "segment(\"trial\") for 7d",
        "count(click since last(purchase)) > 3",
        "did((click where page = \"cart\" then click where page = \"pay\" within 1h) without purchase within 1d)",
        "percentile(sum(purchase.total over 365d)) >= 90",
        "bucket(\"salt\") < 0.1",
        "age(trait.birth_date) between 18 and 30 and anniversary(trait.birth_date) < 7d",
        "did(purchase after 30d without purchase on a.b = c)",
        "count(click this week) > 0 AND not (trait.x IS NOT KNOWN)",
        "coalesce(trait.a, -5, 1h30m) in (1, -2, \"x\", true, -7d, 2026-03-01, 2026-03-01T10:00:00.123+02:00)",
    ] {
        assert_eq!(shown(text), "ok", "{text}");
    }
}
