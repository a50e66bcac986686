//! The canonical text of a tree: lowercase keywords, single spaces, only the parentheses and backquotes that are needed.
//!
//! Reading it back gives the same tree, so two expressions with one canonical text mean the same. A definition's hash is
//! taken over it: it must not change.

use std::fmt::{self, Display, Formatter, Write};

use super::ast::{
    Aggregate, Anchor, ArithmeticOp, CalendarUnit, CompareOp, Expr, ExprKind, Literal, On, Operand, Path, Pattern,
    PatternKind, Relation, Source, Spanned, Step, TextTest, Window,
};
use super::keyword;
use super::literal::{duration_text, instant_text};

/// How tightly a kind of expression binds; what binds looser than its place needs parentheses there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    For,
    Comparison,
    Sum,
    Product,
    Factor,
}

impl ExprKind {
    fn binding(&self) -> Binding {
        match self {
            Self::Or(_) => Binding::Or,
            Self::And(_) => Binding::And,
            Self::Not(_) => Binding::Not,
            Self::For { .. } => Binding::For,
            Self::Compare { .. }
            | Self::Between { .. }
            | Self::In { .. }
            | Self::TextTest { .. }
            | Self::IsKnown { .. } => Binding::Comparison,
            Self::Arithmetic { op: ArithmeticOp::Add | ArithmeticOp::Subtract, .. } => Binding::Sum,
            Self::Arithmetic { .. } => Binding::Product,
            Self::Negate(_)
            | Self::Literal(_)
            | Self::Now
            | Self::Trait(_)
            | Self::Field(_)
            | Self::Aggregate(_)
            | Self::Segment(_)
            | Self::Bucket(_)
            | Self::Age(_)
            | Self::Anniversary(_)
            | Self::Percentile(_)
            | Self::Coalesce(_) => Binding::Factor,
        }
    }
}

/// An expression where one of at least this binding can stand.
struct Within<'e>(Binding, &'e Expr);

impl Display for Within<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(least, expression) = *self;
        if expression.node.binding() < least { write!(f, "({expression})") } else { write!(f, "{expression}") }
    }
}

fn operand(expression: &Expr) -> Within<'_> {
    Within(Binding::Sum, expression)
}

fn separated<T: Display>(f: &mut Formatter<'_>, separator: &str, items: impl IntoIterator<Item = T>) -> fmt::Result {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

fn not(negated: bool) -> &'static str {
    if negated { " not" } else { "" }
}

impl<T: Display> Display for Spanned<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

impl Display for ExprKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(sides) => separated(f, " or ", sides.iter().map(|side| Within(Binding::And, side))),
            Self::And(sides) => separated(f, " and ", sides.iter().map(|side| Within(Binding::Not, side))),
            Self::Not(negated) => write!(f, "not {}", Within(Binding::Not, negated)),
            Self::For { condition, duration_ms } => {
                write!(f, "{} for {}", Within(Binding::Comparison, condition), duration_text(duration_ms.node))
            }
            Self::Compare { op, left, right } => write!(f, "{} {} {}", operand(left), symbol(*op), operand(right)),
            Self::Between { negated, value, low, high } => {
                write!(f, "{}{} between {} and {}", operand(value), not(*negated), operand(low), operand(high))
            }
            Self::In { negated, value, items } => {
                write!(f, "{}{} in (", operand(value), not(*negated))?;
                separated(f, ", ", items)?;
                f.write_char(')')
            }
            Self::TextTest { negated, test, left, right } => {
                write!(f, "{}{} {} {}", operand(left), not(*negated), test_words(*test), operand(right))
            }
            Self::IsKnown { negated, operand: asked } => write!(f, "{} is{} known", operand(asked), not(*negated)),
            Self::Arithmetic { op, left, right } => arithmetic(f, *op, left, right),
            Self::Negate(negated) => negate(f, negated),
            Self::Literal(literal) => literal.fmt(f),
            Self::Now => f.write_str("now"),
            Self::Trait(name) => write!(f, "trait.{}", name.node),
            Self::Field(path) => path.fmt(f),
            Self::Aggregate(aggregate) => aggregate.fmt(f),
            Self::Segment(name) => write!(f, "segment({})", Quoted(&name.node)),
            Self::Bucket(salt) => write!(f, "bucket({})", Quoted(&salt.node)),
            Self::Age(of) => write!(f, "age({})", operand(of)),
            Self::Anniversary(of) => write!(f, "anniversary({})", operand(of)),
            Self::Percentile(of) => write!(f, "percentile({of})"),
            Self::Coalesce(operands) => {
                f.write_str("coalesce(")?;
                separated(f, ", ", operands.iter().map(operand))?;
                f.write_char(')')
            }
        }
    }
}

fn arithmetic(f: &mut Formatter<'_>, op: ArithmeticOp, left: &Expr, right: &Expr) -> fmt::Result {
    let (sign, from, tighter) = match op {
        ArithmeticOp::Add => ('+', Binding::Sum, Binding::Product),
        ArithmeticOp::Subtract => ('-', Binding::Sum, Binding::Product),
        ArithmeticOp::Multiply => ('*', Binding::Product, Binding::Factor),
        ArithmeticOp::Divide => ('/', Binding::Product, Binding::Factor),
    };
    write!(f, "{} {sign} {}", Within(from, left), Within(tighter, right))
}

/// `-3` is a literal, so the negation of the literal `3` keeps its parentheses.
fn negate(f: &mut Formatter<'_>, negated: &Expr) -> fmt::Result {
    let sign_would_stick = match &negated.node {
        ExprKind::Literal(Literal::Number(number)) => number.is_zero() || number.is_sign_positive(),
        ExprKind::Literal(Literal::Duration(duration_ms)) => *duration_ms >= 0,
        _ => false,
    };
    if sign_would_stick { write!(f, "-({negated})") } else { write!(f, "-{}", Within(Binding::Factor, negated)) }
}

fn symbol(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "=",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
    }
}

fn test_words(test: TextTest) -> &'static str {
    match test {
        TextTest::Contains => "contains",
        TextTest::StartsWith => "starts with",
        TextTest::EndsWith => "ends with",
    }
}

/// A text as a literal.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            if matches!(character, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(character)?;
        }
        f.write_char('"')
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) if number.is_zero() => f.write_char('0'),
            Self::Number(number) => write!(f, "{}", number.normalize()),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Duration(duration_ms) => f.write_str(&duration_text(*duration_ms)),
            Self::Instant(instant) => f.write_str(&instant_text(*instant)),
        }
    }
}

/// A name where a keyword could stand.
struct Bare<'n>(&'n str);

impl Display for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if keyword::is_reserved(self.0) { write!(f, "`{}`", self.0) } else { f.write_str(self.0) }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut names = self.names.iter();
        if let Some(first) = names.next() {
            Bare(&first.node).fmt(f)?;
        }
        names.try_for_each(|name| write!(f, ".{}", name.node))
    }
}

/// A path behind a dot, where every word is a name.
fn behind_dot(f: &mut Formatter<'_>, path: Option<&Path>) -> fmt::Result {
    path.into_iter().flat_map(|path| &path.names).try_for_each(|name| write!(f, ".{}", name.node))
}

fn filtered(f: &mut Formatter<'_>, filter: Option<&Expr>) -> fmt::Result {
    filter.map_or(Ok(()), |filter| write!(f, " where {filter}"))
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}{})", keyword::name_of(self.function.node), self.over, self.window)
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Values { source, path, filter } => {
                source.fmt(f)?;
                behind_dot(f, path.as_ref())?;
                filtered(f, filter.as_deref())
            }
        }
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.each { "each " } else { "" }, Bare(&self.event.node))?;
        behind_dot(f, self.path.as_ref())
    }
}

impl Display for Pattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let related = |f: &mut Formatter<'_>, word: &str, parts: &Relation| {
            write!(f, "{} {word} {}", parts.first, parts.second)?;
            on(f, parts.on.as_ref())?;
            write!(f, " within {}", duration_text(parts.duration_ms.node))
        };
        match &self.kind {
            PatternKind::Step(step) => step.fmt(f),
            PatternKind::Then(parts) => related(f, "then", parts),
            PatternKind::Without(parts) => related(f, "without", parts),
            PatternKind::After(parts) => {
                let duration = duration_text(parts.duration_ms.node);
                write!(f, "{} after {duration} without {}", parts.first, parts.second)?;
                on(f, parts.on.as_ref())
            }
        }
    }
}

fn on(f: &mut Formatter<'_>, on: Option<&On>) -> fmt::Result {
    on.map_or(Ok(()), |on| write!(f, " on {on}"))
}

impl Display for On {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.second {
            Some(second) => write!(f, "{} = {second}", self.first),
            None => self.first.fmt(f),
        }
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Events { source, filter } => {
                source.fmt(f)?;
                filtered(f, filter.as_deref())
            }
            Self::Pattern(pattern) => write!(f, "({pattern})"),
        }
    }
}

/// With a space in front, unless there is none.
impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ever => Ok(()),
            Self::Over(duration_ms) => write!(f, " over {}", duration_text(duration_ms.node)),
            Self::SinceInstant(instant) => write!(f, " since {}", instant_text(instant.node)),
            Self::SinceAnchor(anchor) => write!(f, " since {anchor}"),
            Self::This(unit) => write!(f, " this {}", unit_word(*unit)),
        }
    }
}

impl Display for Anchor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}", if self.last { "last" } else { "first" }, Bare(&self.event.node))?;
        filtered(f, self.filter.as_deref())?;
        f.write_char(')')
    }
}

fn unit_word(unit: CalendarUnit) -> &'static str {
    match unit {
        CalendarUnit::Day => "day",
        CalendarUnit::Week => "week",
        CalendarUnit::Month => "month",
        CalendarUnit::Year => "year",
    }
}
