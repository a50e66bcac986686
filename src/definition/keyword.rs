//! Which words mean something to the language, and where.
//!
//! - [`RESERVED`] words are keywords wherever a name could start: an event, field or trait of such a name is written in
//!   backquotes (`` `over` ``). These are the words that join, negate, compare, filter and open a window, so that a
//!   forgotten value is reported where it is missing instead of being read as a field called `and`.
//! - Function names ([`AGGREGATES`], [`CALLS`]) are keywords only with `(` behind them: a field called `count`, `list`,
//!   `first`, `top` or `age` needs no backquotes.
//! - `with` (after `starts`, `ends`), `known` (after `is`) and `day`, `week`, `month`, `year` (after `this`) are
//!   keywords only there.
//! - After a dot every word is a name: `trait.first`, `click.over`.
//!
//! Backquotes are allowed around every name. Keywords are case-insensitive, names are not.

use super::ast::Function;

/// Keywords that cannot be bare names.
pub const RESERVED: &[&str] = &[
    "after", "and", "between", "contains", "each", "ends", "false", "for", "in", "is", "not", "now", "on", "or",
    "over", "since", "starts", "then", "this", "trait", "true", "where", "within", "without",
];

/// The aggregate functions.
pub const AGGREGATES: &[(&str, Function)] = &[
    ("did", Function::Did),
    ("count", Function::Count),
    ("first", Function::First),
    ("last", Function::Last),
    ("sum", Function::Sum),
    ("avg", Function::Avg),
    ("min", Function::Min),
    ("max", Function::Max),
    ("distinct", Function::Distinct),
    ("top", Function::Top),
    ("list", Function::List),
];

/// The functions that are not aggregates.
pub const CALLS: &[&str] = &["segment", "bucket", "age", "anniversary", "percentile", "coalesce"];

/// Whether a bare name of this spelling needs backquotes.
#[must_use]
pub fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// The aggregate function of this name.
#[must_use]
pub fn aggregate_named(word: &str) -> Option<Function> {
    AGGREGATES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, function)| *function)
}

/// The call of this name, as it is spelt in the table.
#[must_use]
pub fn call_named(word: &str) -> Option<&'static str> {
    CALLS.iter().find(|name| name.eq_ignore_ascii_case(word)).copied()
}

/// Every function name.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().map(|(name, _)| *name).chain(CALLS.iter().copied())
}

/// How the language spells an aggregate function.
#[must_use]
pub fn name_of(function: Function) -> &'static str {
    match function {
        Function::Did => "did",
        Function::Count => "count",
        Function::First => "first",
        Function::Last => "last",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Min => "min",
        Function::Max => "max",
        Function::Distinct => "distinct",
        Function::Top => "top",
        Function::List => "list",
    }
}

/// Whether the text is a name: a letter, then letters, digits and `_`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
