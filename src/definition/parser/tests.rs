//! What the grammar accepts, how it prints it, and what it says about the rest.

use super::parse;
use crate::definition::ast::InstantLiteral;
use crate::definition::diagnostic::{Diagnostic, nearest};
use crate::definition::literal::{duration_text, instant_text, parse_duration, parse_instant};

/// The canonical text of an expression, or each problem as `code «marked text» message | expected | help`.
fn read(text: &str) -> String {
    match parse(text) {
        Ok(expression) => expression.to_string(),
        Err(problems) => {
            let shown = problems.iter().map(|problem| {
                let marked = &text[problem.span.start..problem.span.end];
                let part = |part: &Option<String>| part.clone().unwrap_or_default();
                let (expected, help) = (part(&problem.expected), part(&problem.help));
                format!("{} «{marked}» {} | {expected} | {help}", problem.code, problem.message)
            });
            shown.collect::<Vec<_>>().join("\n")
        }
    }
}

/// The expression is read, and its canonical text is this one, which is its own.
fn check(text: &str, canonical: &str) {
    assert_eq!(read(text), canonical, "{text}");
    assert_eq!(read(canonical), canonical, "the canonical text of {text}");
}

/// Why it is not so that there is exactly one problem: this code, marking this text, saying all of these.
fn check_problem(text: &str, code: &str, marked: &str, says: &[&str]) -> Option<String> {
    let said = read(text);
    let holds = said.starts_with(&format!("{code} «{marked}»"))
        && said.lines().filter(|line| line.starts_with("SEG")).count() == 1
        && says.iter().all(|part| said.contains(part));
    (!holds).then(|| format!("{text}\n  said:   {said}\n  should: {code} «{marked}» {says:?}"))
}

/// Every row is an expression with exactly one problem; all rows that are not so are told.
fn check_problems(rows: &[(&str, &str, &str, &[&str])]) {
    let wrong: Vec<_> =
        rows.iter().filter_map(|(text, code, marked, says)| check_problem(text, code, marked, says)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn expressions_and_their_canonical_text() {
    for text in [
        "did(cart_abandonment where cart_value >= 50 without purchase on cart_id within 1h over 7d)",
        "top(click.category over 30d)",
        "sum(each purchase.items.price where category = \"shoes\" over 90d)",
        "segment(\"trial\") for 7d",
        "count(click since last(purchase where total > 5)) > 3",
        "did((click where page = \"cart\" then click where page = \"pay\" within 1h) without purchase within 1d)",
        "did(purchase after 30d without purchase on a.b = c)",
        "percentile(sum(purchase.total over 365d)) >= 90",
        "bucket(\"a \\\"b\\\" \\\\\") < 0.1",
        "age(trait.birth_date) between 18 and 30 and anniversary(trait.birth_date) < 7d",
        "coalesce(trait.a, -5, 1h30m) in (1, -2.5, \"x\", true, -7d, 2026-03-01, 2026-03-01T08:00:00.123Z)",
        "(a or b) and not (c and d) or (not e) = f",
        "a - (b - c) - d * (e / f) * -g",
        "-(3) - -3 - --3",
        "(a = b for 1d) for 2d",
        "(a is known) is not known",
        "x not between 1 and 2 or y not in (1) or z not contains \"a\" or z not starts with \"b\" or z ends with \"c\"",
        // Names that are keywords elsewhere.
        "did(first where count > 1 and list contains top and day = week and known = with and age is known)",
        "trait.first = trait.over",
        "last(`over`.over where `and` = `now`.now over 1d) = 1",
        "first(purchase) < 2026-01-01 and last(each purchase.items) > now - 1d",
        "min(a.b this day) + max(a.b this week) + avg(a.b this month) + distinct(a.b this year) > 0",
        "did(a since 2026-01-01) and did(a since first(b))",
    ] {
        check(text, text);
    }
    for (text, canonical) in [
        (
            "DID ( Purchase  OVER 1W ) And NOT(trait.X IS NOT KNOWN)",
            "did(Purchase over 7d) and not trait.X is not known",
        ),
        ("a=1 # why\nand b# no\n", "a = 1 and b"),
        ("((a)) + (b * c)", "a + b * c"),
        ("`a`.`over` = `b`", "a.over = b"),
        ("did(((a)) then ((b then c within 90m)) within 86400s)", "did(a then (b then c within 1h30m) within 1d)"),
        ("did((a then b within 1h))", "did(a then b within 1h)"),
        ("2026-03-01t10:00:00.1239+02:00 > 1.500 + -0", "2026-03-01T08:00:00.123Z > 1.5 + 0"),
        ("did(a over 1m30m1h)", "did(a over 1h31m)"),
        ("5 -3", "5 - 3"),
        ("- 3", "-3"),
        ("TRUE", "true"),
        ("79228162514264337593543950335", "79228162514264337593543950335"),
    ] {
        check(text, canonical);
    }
}

#[test]
fn slips_in_words_are_named_at_their_place() {
    check_problems(&[
        ("a == 1", "SEG002", "==", &["write `=`"]),
        ("a <> 1", "SEG002", "<>", &["write `!=`"]),
        ("a && b", "SEG002", "&&", &["write `and`"]),
        ("a || b", "SEG002", "||", &["write `or`"]),
        ("!a", "SEG002", "!", &["write `not`"]),
        ("a ≥ 1", "SEG002", "≥", &["write `>=`"]),
        ("a = 'text'", "SEG003", "'text'", &["write `\"text\"`"]),
        ("a = “text”", "SEG003", "“text”", &["write `\"text\"`"]),
        ("a = 'it's'", "SEG003", "'it'", &["double quotes"]),
        ("a = \"open", "SEG003", "\"", &["not closed"]),
        ("a = \"open\nand b = \"x\"", "SEG003", "\"", &["not closed"]),
        ("a = \"b\\n\"", "SEG004", "\\n", &["not an escape"]),
        ("a = .5", "SEG005", ".5", &["write `0.5`"]),
        ("a = 1e5", "SEG005", "1e5", &["neither"]),
        (
            "a = 0.12345678901234567890123456789012",
            "SEG005",
            "0.12345678901234567890123456789012",
            &["too many digits"],
        ),
        ("`a b` = 1", "SEG006", "`a b`", &["not a name"]),
        ("did(a over 30 days)", "SEG007", "30 days", &["write `30d`"]),
        ("did(a over 30days)", "SEG007", "30days", &["write `30d`"]),
        ("did(a over 1.5h)", "SEG007", "1.5h", &["write `1h30m`"]),
        ("did(a over 1h 30m)", "SEG007", "1h 30m", &["write `1h30m`"]),
        ("did(a over 2 months)", "SEG007", "2 months", &["`60d`"]),
        ("did(a over 9999999999999w)", "SEG008", "9999999999999w", &["too long"]),
        ("now > 2026-02-30", "SEG009", "2026-02-30", &["no day"]),
        ("now > 2026-02-20T10:00", "SEG009", "2026-02-20T10:00", &["offset"]),
        ("now > 2026-02-20T25:00:00Z", "SEG009", "2026-02-20T25:00:00Z", &["no instant"]),
        ("a > ]", "SEG001", "]", &["round parentheses"]),
    ]);
}

#[test]
fn slips_in_grammar_are_named_at_their_place() {
    check_problems(&[
        ("did(purchase last 30d)", "SEG013", "last", &["`over 30d`"]),
        ("did(purchase in the last 30d)", "SEG013", "in", &["`over 30d`"]),
        ("did(purchase where total > 5 within 30d)", "SEG013", "within", &["`over 30d`"]),
        ("did(purchase since 30d)", "SEG013", "30d", &["`over 30d`"]),
        ("did(purchase over 2026-01-01)", "SEG013", "2026-01-01", &["`since 2026-01-01`"]),
        ("sum(a.b) >= 50 and <= 60", "SEG010", "<=", &["`sum(a.b) <= …`", "`sum(a.b) between 1 and 5`"]),
        ("did(purchase and did(a)", "SEG010", "and", &["`where`"]),
        ("(a or (b and c)", "SEG012", "(", &["never closed"]),
        ("a or b)", "SEG010", ")", &["closes nothing"]),
        ("did(a then b)", "SEG010", ")", &["`then` says no `within`", "within 1h"]),
        ("count()", "SEG016", "()", &["count(purchase over 30d)"]),
        ("cuont(a) > 1", "SEG015", "cuont", &["did you mean `count`?"]),
        ("average(a.b) > 1", "SEG015", "average", &["did you mean `avg`?"]),
        ("a contians \"x\"", "SEG011", "contians", &["did you mean `contains`?"]),
        ("did(a wher b)", "SEG011", "wher", &["did you mean `where`?"]),
        ("a is null", "SEG011", "null", &["is known"]),
        ("a in (b)", "SEG010", "b", &["\"b\""]),
        ("segment(trial)", "SEG010", "trial", &["segment(\"trial\")"]),
        ("over = 1", "SEG014", "over", &["`` `over` ``"]),
        ("did(over)", "SEG014", "over", &["`` `over` ``"]),
        ("sum(purchase) > 1", "SEG017", "purchase", &["sum(purchase.FIELD)"]),
        ("count(a.b) > 1", "SEG010", ".", &["each a."]),
        ("did(a over 30)", "SEG010", "30", &["`30d`"]),
        ("did(a where now > b)", "SEG020", "now", &["one event alone"]),
        ("did(a where count(b) > 1)", "SEG020", "count", &["one event alone"]),
        ("did(a where b = 1 for 7d)", "SEG020", "for", &["over 30d"]),
        ("", "SEG018", "", &["no expression"]),
        (" # nothing", "SEG018", "", &["no expression"]),
        ("a and", "SEG010", "", &["missing at the end"]),
        ("a = 1 b", "SEG010", "b", &["`and`, `or`"]),
        ("did(a then b within 1h on c)", "SEG010", "on", &["before `within`"]),
        ("did(a over 1d where b)", "SEG010", "where", &["before the window"]),
        ("did(a then b within 1h then c within 1h)", "SEG010", "then", &["in parentheses"]),
        ("trait x = 1", "SEG010", "x", &["`.`"]),
        ("now() > 1", "SEG010", "(", &["without parentheses"]),
    ]);
}

#[test]
fn slips_that_can_be_read_over_are_all_told() {
    let codes: Vec<_> = parse("a == 1 && b = 'x' and did(c over 3 days").unwrap_err().iter().map(|p| p.code).collect();
    assert_eq!(codes, ["SEG002", "SEG002", "SEG003", "SEG012", "SEG007"]);
}

#[test]
fn nesting_and_length_are_bounded_without_harm() {
    for (open, middle, close) in
        [("(", "a", ")"), ("not ", "a", ""), ("age(", "a", ")"), ("-", "a", ""), ("a+", "a", "")]
    {
        let text = format!("{}{middle}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(read(&text).starts_with("SEG019"), "{open}");
    }
    assert!(read(&format!("did({}a{})", "(".repeat(100_000), ")".repeat(100_000))).starts_with("SEG019"));
    let long = vec!["a = 1"; 10_000].join(" or ");
    check(&long, &long);
    let deep = format!("{}a{}", "age(".repeat(90), ")".repeat(90));
    check(&deep, &deep);
}

#[test]
fn a_diagnostic_marks_its_line() {
    let file = "segments:\r\n  - when: >\n\tdid(é over\n      30 days)\n";
    let start = file.find("30").unwrap();
    let problem = parse("did(a over 30 days)").unwrap_err().remove(0);
    let shown = Diagnostic::of_problem("a.yaml", file, &(start..start + 7), problem).to_string();
    let expected = "error[SEG007]: `30 days` is not how a duration is written\n \
                    --> a.yaml:4:7\n  |\n4 |       30 days)\n  |       ^^^^^^^\n  = help: write `30d`";
    assert_eq!(shown, expected);
    let at_name = Diagnostic::new("a.yaml", file, &(file.find("over").unwrap()..file.len()), "SEG100", "x");
    assert_eq!((at_name.line, at_name.column, at_name.length), (3, 8, 4));
}

#[test]
fn literals_of_flags_and_files() {
    assert_eq!(parse_duration("1h30m").unwrap(), 5_400_000);
    assert_eq!(duration_text(i64::MIN), "-106751991167d7h12m55s808ms");
    for text in ["", "h", "1", "-1h", "1h ", "1 h", "1.5h", "1hh", "9223372036854775808s", "1é"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
    let instant = |text: &str| parse_instant(text).map(instant_text).map_err(|error| error.message);
    for (text, canonical) in [
        ("2024-02-29", "2024-02-29"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("1969-12-31T23:59:59.9999-00:30", "1970-01-01T00:29:59.999Z"),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
    ] {
        assert_eq!(instant(text).as_deref(), Ok(canonical));
    }
    for text in [
        "",
        "2023-02-29",
        "2026-1-1",
        "2026-01-01T",
        "2026-01-01T10:00:00",
        "2026-01-01T10:00:00+25:00",
        "now",
        "2026-01-01T10:00:00.Z",
        "2026-01-01 ",
        "9999-12-31T23:59:59-12:00",
        "2026-01-01T10:00:61Z",
        "２026-01-01",
    ] {
        assert!(parse_instant(text).is_err(), "{text}");
    }
    assert_eq!(parse_instant("1970-01-01T00:00:00.5Z"), Ok(InstantLiteral::Exact(500)));
}

#[test]
fn the_nearest_name_is_near() {
    let names = ["purchase", "click", "cart_abandonment", "a"];
    for (written, found) in [
        ("purchse", Some("purchase")),
        ("Purchase", Some("purchase")),
        ("cart_abandoned", Some("cart_abandonment")),
        ("b", None),
        ("clock_tower", None),
        ("", None),
    ] {
        assert_eq!(nearest(written, names), found, "{written}");
    }
}
