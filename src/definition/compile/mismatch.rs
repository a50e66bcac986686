//! The words for operators that got what they do not take, and what was probably meant.

use crate::engine::catalog::{ArithmeticOp, CompareOp};
use crate::engine::value::Type;

use super::super::ast::{Expr, ExprKind, Literal, Span};

/// `a number`, `an instant`.
pub(super) fn with_article(value_type: &Type) -> String {
    match value_type {
        Type::Bool => "true or false".to_owned(),
        Type::Instant => "an instant".to_owned(),
        other => format!("a {other}"),
    }
}

/// What several of them are called.
pub(super) fn plural(value_type: &Type) -> &'static str {
    match value_type {
        Type::Bool => "true or false",
        Type::Number => "a number",
        Type::Text => "a text",
        Type::Instant => "an instant",
        Type::Duration => "a duration",
        Type::List(_) => "a list",
    }
}

/// As it is written.
pub(super) fn symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "=",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
    }
}

/// Two types that should be one.
pub(super) fn compared(symbol: &str, left: &Type, right: &Type) -> String {
    format!("`{symbol}` compares values of one type, but these are {} and {}", with_article(left), with_article(right))
}

/// The side to underline: a literal, which is easily written wrongly, or else all of it.
pub(super) fn blamed(whole: &Expr, left: &Expr, right: &Expr) -> Span {
    let is_literal = |side: &Expr| matches!(side.node, ExprKind::Literal(_));
    match (is_literal(left), is_literal(right)) {
        (false, true) => right.span,
        (true, false) => left.span,
        _ => whole.span,
    }
}

/// What may have been meant by a comparison of two types.
pub(super) fn help(left: (&Expr, &Type), right: (&Expr, &Type)) -> Option<String> {
    if let Some(help) = literal_help(right.0, left.1).or_else(|| literal_help(left.0, right.1)) {
        return Some(help);
    }
    match (left.1, right.1) {
        (Type::List(item), other) | (other, Type::List(item)) if item.as_ref() == other => {
            Some("ask about an element of the list: `LIST contains VALUE`".to_owned())
        }
        (Type::Instant, Type::Duration) | (Type::Duration, Type::Instant) => {
            Some("how long ago an instant was is `now - INSTANT`".to_owned())
        }
        (Type::Duration, Type::Number) | (Type::Number, Type::Duration) => Some(
            "a duration has a unit: `90s`, `15m`, `1h30m`, `30d`, `2w`; dividing by one gives a number: `/ 1d`"
                .to_owned(),
        ),
        _ => None,
    }
}

/// How to write a literal so that it has the type wanted.
pub(super) fn literal_help(written: &Expr, wanted: &Type) -> Option<String> {
    let ExprKind::Literal(literal) = &written.node else { return None };
    match (literal, wanted) {
        (Literal::Text(text), Type::Instant) if looks_like_instant(text) => {
            Some(format!("write the date without quotes: `{text}`"))
        }
        (Literal::Text(_), Type::Instant) => Some("an instant is written like 2026-03-01, without quotes".to_owned()),
        (Literal::Text(text), Type::Number) if text.trim().parse::<rust_decimal::Decimal>().is_ok() => {
            Some(format!("write the number without quotes: `{}`", text.trim()))
        }
        (Literal::Text(text), Type::Bool) if matches!(text.as_str(), "true" | "false") => {
            Some(format!("write it without quotes: `{text}`"))
        }
        (Literal::Text(text), Type::Duration) if looks_like_duration(text) => {
            Some(format!("write the duration without quotes: `{text}`"))
        }
        (Literal::Number(number), Type::Text) => Some(format!("write it in quotes: `\"{}\"`", number.normalize())),
        (Literal::Bool(truth), Type::Text) => Some(format!("write it in quotes: `\"{truth}\"`")),
        (Literal::Number(number), Type::Duration) => {
            let number = number.normalize();
            Some(format!("a duration has a unit: `{number}d` for days, `h` hours, `m` minutes, `s` seconds, `w` weeks"))
        }
        _ => None,
    }
}

fn looks_like_instant(text: &str) -> bool {
    text.parse::<jiff::civil::Date>().is_ok() || text.parse::<jiff::Timestamp>().is_ok()
}

fn looks_like_duration(text: &str) -> bool {
    let units = text.trim_matches(|character: char| character.is_ascii_digit());
    text.starts_with(|first: char| first.is_ascii_digit()) && matches!(units, "s" | "m" | "h" | "d" | "w")
}

/// What to say of a value that should be a condition.
pub(super) fn condition_help(found: &Type) -> String {
    match found {
        Type::Number => "compare it: `… >= 1`".to_owned(),
        Type::Text => "compare it: `… = \"…\"`".to_owned(),
        Type::Duration => "compare it: `… < 30d`".to_owned(),
        Type::Instant => "compare it: `… >= now - 30d`, or ask whether there is one: `… is known`".to_owned(),
        Type::List(_) => "ask about an element: `… contains …`".to_owned(),
        Type::Bool => String::new(),
    }
}

/// Arithmetic that has no answer.
pub(super) fn arithmetic(op: ArithmeticOp, left: (&Expr, &Type), right: (&Expr, &Type)) -> (String, Option<String>) {
    let (first, second) = (with_article(left.1), with_article(right.1));
    let message = match op {
        ArithmeticOp::Add => format!("`+` cannot add {second} to {first}"),
        ArithmeticOp::Subtract => format!("`-` cannot take {second} from {first}"),
        ArithmeticOp::Multiply => format!("`*` cannot multiply {first} by {second}"),
        ArithmeticOp::Divide => format!("`/` cannot divide {first} by {second}"),
    };
    let help = literal_help(right.0, left.1).or_else(|| literal_help(left.0, right.1));
    let help = help.or_else(|| match (op, left.1, right.1) {
        (ArithmeticOp::Subtract, Type::Duration, Type::Instant) => {
            Some("the instant comes first: `INSTANT - DURATION`".to_owned())
        }
        (ArithmeticOp::Add, Type::Instant, Type::Instant) => {
            Some("the time between two instants is `INSTANT - INSTANT`".to_owned())
        }
        (ArithmeticOp::Multiply, Type::Duration, Type::Duration) => {
            Some("a duration is multiplied by a number".to_owned())
        }
        (ArithmeticOp::Divide, Type::Number, Type::Duration) => Some("the duration comes first".to_owned()),
        _ => None,
    });
    (message, help)
}
