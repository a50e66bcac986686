//! Expressions and sets back to text, so that a case can be pasted and both sides read the same.

use std::fmt::Write as _;

use jiff::Timestamp;
use segue::definition::ast::{
    Aggregate, ArithmeticOp, CalendarUnit, CompareOp, Expr, ExprKind, Function, InstantLiteral, Literal, Operand, Path,
    Pattern, PatternKind, Relation, Source, Step, TextTest, Window,
};

use crate::definitions::Set;
use crate::record::FieldType;

/// How tightly a construct binds: what is looser than its place asks for goes in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    For,
    Comparison,
    Sum,
    Term,
    Factor,
}

/// The text of an expression.
pub(crate) fn text(expr: &Expr) -> String {
    at(expr, Level::Or)
}

fn level(expr: &Expr) -> Level {
    match &expr.node {
        ExprKind::Or(_) => Level::Or,
        ExprKind::And(_) => Level::And,
        ExprKind::Not(_) => Level::Not,
        ExprKind::For { .. } => Level::For,
        ExprKind::Compare { .. }
        | ExprKind::Between { .. }
        | ExprKind::In { .. }
        | ExprKind::TextTest { .. }
        | ExprKind::IsKnown { .. } => Level::Comparison,
        ExprKind::Arithmetic { op: ArithmeticOp::Add | ArithmeticOp::Subtract, .. } => Level::Sum,
        ExprKind::Arithmetic { .. } => Level::Term,
        _ => Level::Factor,
    }
}

fn at(expr: &Expr, least: Level) -> String {
    let text = bare(expr);
    if level(expr) < least { format!("({text})") } else { text }
}

fn joined(parts: &[Expr], separator: &str, least: Level) -> String {
    parts.iter().map(|part| at(part, least)).collect::<Vec<_>>().join(separator)
}

fn bare(expr: &Expr) -> String {
    let operand = |part: &Expr| at(part, Level::Sum);
    let not = |negated: bool| if negated { "not " } else { "" };
    match &expr.node {
        ExprKind::Or(parts) => joined(parts, " or ", Level::And),
        ExprKind::And(parts) => joined(parts, " and ", Level::Not),
        ExprKind::Not(part) => format!("not {}", at(part, Level::Not)),
        ExprKind::For { condition, duration_ms } => {
            format!("{} for {}", at(condition, Level::Comparison), duration(duration_ms.node))
        }
        ExprKind::Compare { op, left, right } => format!("{} {} {}", operand(left), comparison(*op), operand(right)),
        ExprKind::Between { negated, value, low, high } => {
            format!("{} {}between {} and {}", operand(value), not(*negated), operand(low), operand(high))
        }
        ExprKind::In { negated, value, items } => {
            let items: Vec<_> = items.iter().map(|item| literal(&item.node)).collect();
            format!("{} {}in ({})", operand(value), not(*negated), items.join(", "))
        }
        ExprKind::TextTest { negated, test, left, right } => {
            let test = match test {
                TextTest::Contains => "contains",
                TextTest::StartsWith => "starts with",
                TextTest::EndsWith => "ends with",
            };
            format!("{} {}{test} {}", operand(left), not(*negated), operand(right))
        }
        ExprKind::IsKnown { negated, operand: of } => format!("{} is {}known", operand(of), not(*negated)),
        ExprKind::Arithmetic { op, left, right } => match op {
            ArithmeticOp::Add => format!("{} + {}", operand(left), at(right, Level::Term)),
            ArithmeticOp::Subtract => format!("{} - {}", operand(left), at(right, Level::Term)),
            ArithmeticOp::Multiply => format!("{} * {}", at(left, Level::Term), at(right, Level::Factor)),
            ArithmeticOp::Divide => format!("{} / {}", at(left, Level::Term), at(right, Level::Factor)),
        },
        ExprKind::Negate(part) => format!("-{}", at(part, Level::Factor)),
        ExprKind::Literal(written) => literal(written),
        ExprKind::Now => "now".to_owned(),
        ExprKind::Trait(name) => format!("trait.{}", name.node),
        ExprKind::Field(of) => path(of),
        ExprKind::Aggregate(of) => aggregate(of),
        ExprKind::Segment(name) => format!("segment({})", quoted(&name.node)),
        ExprKind::Bucket(salt) => format!("bucket({})", quoted(&salt.node)),
        ExprKind::Age(of) => format!("age({})", operand(of)),
        ExprKind::Anniversary(of) => format!("anniversary({})", operand(of)),
        ExprKind::Percentile(of) => format!("percentile({})", aggregate(&of.node)),
        ExprKind::Coalesce(parts) => format!("coalesce({})", joined(parts, ", ", Level::Sum)),
    }
}

fn comparison(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Equal => "=",
        CompareOp::NotEqual => "!=",
        CompareOp::Less => "<",
        CompareOp::LessOrEqual => "<=",
        CompareOp::Greater => ">",
        CompareOp::GreaterOrEqual => ">=",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn literal(written: &Literal) -> String {
    match written {
        Literal::Bool(truth) => truth.to_string(),
        Literal::Number(number) => number.normalize().to_string(),
        Literal::Text(text) => quoted(text),
        Literal::Duration(ms) => duration(*ms),
        Literal::Instant(of) => instant(*of),
    }
}

fn instant(of: InstantLiteral) -> String {
    match of {
        InstantLiteral::Date(date) => date.to_string(),
        InstantLiteral::Exact(ms) => rfc3339(ms),
    }
}

/// An instant as text.
pub(crate) fn rfc3339(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).expect("an instant within range");
    format!("{at:.3}")
}

fn duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = if ms < 0 { "-".to_owned() } else { String::new() };
    let mut left = ms.abs() / 1000;
    for (unit, seconds) in [("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if left >= seconds {
            write!(text, "{}{unit}", left / seconds).expect("text grows");
            left %= seconds;
        }
    }
    text
}

fn path(of: &Path) -> String {
    of.names.iter().map(|name| name.node.as_str()).collect::<Vec<_>>().join(".")
}

fn source(of: &Source) -> String {
    let after = of.path.as_ref().map(|of| format!(".{}", path(of))).unwrap_or_default();
    format!("{}{}{after}", if of.each { "each " } else { "" }, of.event.node)
}

fn filter(of: Option<&Expr>) -> String {
    of.map(|of| format!(" where {}", text(of))).unwrap_or_default()
}

fn aggregate(of: &Aggregate) -> String {
    let function = match of.function.node {
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
    };
    let over = match &of.over {
        Operand::Pattern(of) => pattern(of),
        Operand::Values { source: of, path: value, filter: passing } => {
            let value = value.as_ref().map(|value| format!(".{}", path(value))).unwrap_or_default();
            format!("{}{value}{}", source(of), filter(passing.as_deref()))
        }
    };
    format!("{function}({over}{})", window(&of.window))
}

fn window(of: &Window) -> String {
    match of {
        Window::Ever => String::new(),
        Window::Over(ms) => format!(" over {}", duration(ms.node)),
        Window::SinceInstant(at) => format!(" since {}", instant(at.node)),
        Window::SinceAnchor(anchor) => {
            let function = if anchor.last { "last" } else { "first" };
            format!(" since {function}({}{})", anchor.event.node, filter(anchor.filter.as_deref()))
        }
        Window::This(unit) => format!(
            " this {}",
            match unit {
                CalendarUnit::Day => "day",
                CalendarUnit::Week => "week",
                CalendarUnit::Month => "month",
                CalendarUnit::Year => "year",
            }
        ),
    }
}

fn pattern(of: &Pattern) -> String {
    let on = |relation: &Relation| {
        let on = relation.on.as_ref().map(|on| {
            let second = on.second.as_ref().map(|second| format!(" = {}", path(second))).unwrap_or_default();
            format!(" on {}{second}", path(&on.first))
        });
        on.unwrap_or_default()
    };
    let two = |relation: &Relation, word: &str| {
        let (first, second) = (step(&relation.first), step(&relation.second));
        format!("{first} {word} {second}{} within {}", on(relation), duration(relation.duration_ms.node))
    };
    match &of.kind {
        PatternKind::Step(of) => step(of),
        PatternKind::Then(relation) => two(relation, "then"),
        PatternKind::Without(relation) => two(relation, "without"),
        PatternKind::After(relation) => {
            let (first, second) = (step(&relation.first), step(&relation.second));
            format!("{first} after {} without {second}{}", duration(relation.duration_ms.node), on(relation))
        }
    }
}

fn step(of: &Step) -> String {
    match of {
        Step::Events { source: of, filter: passing } => format!("{}{}", source(of), filter(passing.as_deref())),
        Step::Pattern(of) => format!("({})", pattern(of)),
    }
}

fn type_name(of: &FieldType) -> String {
    match of {
        FieldType::Bool => "bool".to_owned(),
        FieldType::Number => "number".to_owned(),
        FieldType::Text => "text".to_owned(),
        FieldType::Instant => "instant".to_owned(),
        FieldType::ListOf(item) => format!("list of {}", type_name(item)),
        FieldType::Record(_) | FieldType::ArrayOf(_) => panic!("no such profile trait"),
    }
}

fn carry(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("    carry: [{}]", names.join(", ")))
}

/// A set as a definition file.
pub(crate) fn file(set: &Set) -> String {
    let yaml = |expr: &Expr| format!("'{}'", text(expr).replace('\'', "''"));
    let mut file = String::new();
    let mut line = |text: String| {
        file.push_str(&text);
        file.push('\n');
    };
    if !set.profile.is_empty() {
        line("profile:".to_owned());
        set.profile.iter().for_each(|(name, of)| line(format!("  - {{name: {name}, type: {}}}", type_name(of))));
    }
    if !set.traits.is_empty() {
        line("traits:".to_owned());
        set.traits.iter().for_each(|(name, value)| line(format!("  - {{name: {name}, value: {}}}", yaml(value))));
    }
    if !set.segments.is_empty() {
        line("segments:".to_owned());
    }
    for segment in &set.segments {
        line(format!("  - name: {}", segment.name));
        line(format!("    when: {}", yaml(&segment.when)));
        segment.until.iter().for_each(|until| line(format!("    until: {}", yaml(until))));
        segment.purpose.iter().for_each(|purpose| line(format!("    purpose: {purpose}")));
        carry(&segment.carry).into_iter().for_each(&mut line);
    }
    if !set.groups.is_empty() {
        line("groups:".to_owned());
    }
    for group in &set.groups {
        line(format!("  - name: {}", group.name));
        group.purpose.iter().for_each(|purpose| line(format!("    purpose: {purpose}")));
        carry(&group.carry).into_iter().for_each(&mut line);
        line("    tiers:".to_owned());
        group.tiers.iter().for_each(|(tier, when)| line(format!("      - {{name: {tier}, when: {}}}", yaml(when))));
    }
    file
}
