//! The parsed tree of an expression: what was written, with its place, before names are resolved and types checked.

use rust_decimal::Decimal;

pub use crate::engine::catalog::{ArithmeticOp, CalendarUnit, CompareOp, TextTest};

/// Bytes `start..end` of the expression's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// Something with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The thing.
    pub node: T,
    /// Where it is written.
    pub span: Span,
}

/// A name as written, without backquotes.
pub type Name = Spanned<String>;

/// Dotted names, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The names, outermost first.
    pub names: Vec<Name>,
}

/// An expression.
pub type Expr = Spanned<ExprKind>;

/// The kinds of expression, from the loosest binding to the tightest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprKind {
    /// `a or b or c`: two or more.
    Or(Vec<Expr>),
    /// `a and b and c`: two or more.
    And(Vec<Expr>),
    /// `not a`.
    Not(Box<Expr>),
    /// `condition for duration`.
    For {
        /// What must hold without a break.
        condition: Box<Expr>,
        /// For how long, milliseconds.
        duration_ms: Spanned<i64>,
    },
    /// `left op right`.
    Compare {
        /// The comparison.
        op: CompareOp,
        /// Left side.
        left: Box<Expr>,
        /// Right side.
        right: Box<Expr>,
    },
    /// `value [not] between low and high`, both ends included.
    Between {
        /// `not between`.
        negated: bool,
        /// What is compared.
        value: Box<Expr>,
        /// The lower end.
        low: Box<Expr>,
        /// The upper end.
        high: Box<Expr>,
    },
    /// `value [not] in (literal, …)`: the items are literals.
    In {
        /// `not in`.
        negated: bool,
        /// What is looked for.
        value: Box<Expr>,
        /// The literals, at least one.
        items: Vec<Spanned<Literal>>,
    },
    /// `left [not] contains|starts with|ends with right`.
    TextTest {
        /// The `not` form.
        negated: bool,
        /// Which test.
        test: TextTest,
        /// Where it is looked for: a text, or a list for `contains`.
        left: Box<Expr>,
        /// What is looked for.
        right: Box<Expr>,
    },
    /// `operand is [not] known`.
    IsKnown {
        /// `is not known`.
        negated: bool,
        /// What is asked about.
        operand: Box<Expr>,
    },
    /// `left op right` on numbers, durations and instants.
    Arithmetic {
        /// The operation.
        op: ArithmeticOp,
        /// Left side.
        left: Box<Expr>,
        /// Right side.
        right: Box<Expr>,
    },
    /// `-a` of something that is not a literal.
    Negate(Box<Expr>),
    /// A literal.
    Literal(Literal),
    /// `now`: the instant of evaluation.
    Now,
    /// `trait.name`: a profile trait or a computed one.
    Trait(Name),
    /// A bare path: a field of the event a filter looks at.
    Field(Path),
    /// An aggregate.
    Aggregate(Box<Aggregate>),
    /// `segment("name")`.
    Segment(Spanned<String>),
    /// `bucket("salt")`.
    Bucket(Spanned<String>),
    /// `age(operand)`.
    Age(Box<Expr>),
    /// `anniversary(operand)`.
    Anniversary(Box<Expr>),
    /// `percentile(aggregate)`.
    Percentile(Box<Spanned<Aggregate>>),
    /// `coalesce(operand, …)`: at least one.
    Coalesce(Vec<Expr>),
}

/// A literal. A sign in front of a number or a duration is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// `true`, `false`
    Bool(bool),
    /// `12`, `-0.5`
    Number(Decimal),
    /// `"text"`
    Text(String),
    /// `1h30m`, `-7d`, in milliseconds
    Duration(i64),
    /// An instant
    Instant(InstantLiteral),
}

/// An instant as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstantLiteral {
    /// `2026-03-01`: that date's midnight in the configured time zone.
    Date(jiff::civil::Date),
    /// RFC 3339 with an offset, in milliseconds since the epoch.
    Exact(i64),
}

/// An aggregate: a function over a source or a pattern, in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregate {
    /// The function.
    pub function: Spanned<Function>,
    /// What it is over.
    pub over: Operand,
    /// Which part of history.
    pub window: Window,
}

/// What an aggregate is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `did` and `count`: a pattern; a single step is a pattern too.
    Pattern(Pattern),
    /// The others: a value of each event of a source.
    Values {
        /// The events.
        source: Source,
        /// The value in them; `None` only for `first` and `last`, which then give the instant. For an `each` source
        /// the checker splits the path after the array, so this is `None` and [`Source::path`] holds all of it.
        path: Option<Path>,
        /// Which of them.
        filter: Option<Box<Expr>>,
    },
}

/// The aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// At least one.
    Did,
    /// How many.
    Count,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// Total.
    Sum,
    /// Mean.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// Number of different values.
    Distinct,
    /// Most frequent value.
    Top,
    /// The different values, the most recently seen first.
    List,
}

/// Events of one type, or the elements of an array in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `each`.
    pub each: bool,
    /// The event type.
    pub event: Name,
    /// With `each`: the path after the event: to the array and, where the aggregate takes a value, on to it.
    /// Without `each`: `None`.
    pub path: Option<Path>,
    /// All of it.
    pub span: Span,
}

/// One step, or two in a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Which.
    pub kind: PatternKind,
    /// All of it.
    pub span: Span,
}

/// The pattern forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatternKind {
    /// `A`
    Step(Box<Step>),
    /// `A then B [on] within D`
    Then(Box<Relation>),
    /// `A without B [on] within D`
    Without(Box<Relation>),
    /// `B after D without A [on]`: `first` is B, as written first; `second` is A.
    After(Box<Relation>),
}

/// The parts of a two-step pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The step written first.
    pub first: Step,
    /// The step written second.
    pub second: Step,
    /// What must be equal in both.
    pub on: Option<On>,
    /// How far apart, milliseconds.
    pub duration_ms: Spanned<i64>,
}

/// A step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Events, filtered.
    Events {
        /// The events.
        source: Source,
        /// Which of them.
        filter: Option<Box<Expr>>,
    },
    /// A pattern in parentheses.
    Pattern(Box<Pattern>),
}

/// `on a = b`; `on a` has no second path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct On {
    /// A field of the step written first.
    pub first: Path,
    /// A field of the step written second; `None` for the same name.
    pub second: Option<Path>,
    /// All of it.
    pub span: Span,
}

/// The part of history an aggregate looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// No window: all of it.
    Ever,
    /// `over duration`, milliseconds.
    Over(Spanned<i64>),
    /// `since instant`.
    SinceInstant(Spanned<InstantLiteral>),
    /// `since first(…)` or `since last(…)`.
    SinceAnchor(Box<Anchor>),
    /// `this day|week|month|year`.
    This(CalendarUnit),
}

/// The first or last event of a kind, whose instant starts a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// `last`, else `first`.
    pub last: bool,
    /// The event type.
    pub event: Name,
    /// Which of them.
    pub filter: Option<Box<Expr>>,
    /// All of it.
    pub span: Span,
}
