//! Random definitions over the whole grammar, in a vocabulary small enough for things to happen.

mod crowd;

use std::collections::BTreeMap;

use jiff::Timestamp;
use segue::definition::ast::{
    Aggregate, Anchor, ArithmeticOp, CalendarUnit, CompareOp, Expr, ExprKind, Function, InstantLiteral, Literal, Name,
    On, Operand, Path, Pattern, PatternKind, Relation, Source, Span, Spanned, Step, TextTest, Window,
};

use crate::definitions::{Group, Segment, Set};
use crate::random::Random;
use crate::record::{FieldType, Schemas};
use crate::vocabulary::{DURATIONS_S, Leaf, NUMBERS, PURPOSES, SHARES, WORDS, leaves_with_envelope};

/// The types of operands. `Ratio` is a number that need not be exact: it is only compared with a short decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ty {
    Bool,
    Number,
    Ratio,
    Text,
    Instant,
    Duration,
    Texts,
}

/// What a generated set is made of, for the history to aim at.
pub(crate) struct Generated {
    pub(crate) set: Set,
    /// Durations that occur in it, milliseconds.
    pub(crate) durations_ms: Vec<i64>,
}

/// Where an expression stands.
enum Place<'a> {
    /// A condition or trait of a customer.
    Customer,
    /// A filter over these fields.
    Filter(&'a [Leaf]),
}

struct Generator<'a> {
    random: &'a mut Random,
    schemas: &'a Schemas,
    durations_ms: Vec<i64>,
    base_ms: i64,
    /// Traits and segments that may be used by what comes next.
    traits: Vec<(String, Ty)>,
    segments: Vec<String>,
}

fn bare<T>(node: T) -> Spanned<T> {
    Spanned { node, span: Span::default() }
}

fn boxed(node: ExprKind) -> Box<Expr> {
    Box::new(bare(node))
}

fn name(text: &str) -> Name {
    bare(text.to_owned())
}

fn path(names: &[String]) -> Path {
    Path { names: names.iter().map(|part| name(part)).collect() }
}

fn number(text: &str) -> ExprKind {
    ExprKind::Literal(Literal::Number(text.parse().expect("a decimal")))
}

/// A random set.
pub(crate) fn generate(random: &mut Random, schemas: &Schemas, base_ms: i64) -> Generated {
    let durations_ms: Vec<i64> = (0..3).map(|_| random.pick(&DURATIONS_S) * 1000).collect();
    let mut generator =
        Generator { random, schemas, durations_ms: durations_ms.clone(), base_ms, traits: vec![], segments: vec![] };
    let set = generator.set();
    Generated { set, durations_ms }
}

impl Generator<'_> {
    fn set(&mut self) -> Set {
        let mut set = Set::default();
        self.profile(&mut set.profile);
        if self.random.percent(30) {
            self.crowd(&mut set);
        }
        let count = self.random.between(1, 4);
        for index in 0..count {
            if self.random.percent(35) {
                let ty = *self.random.pick(&[
                    Ty::Bool,
                    Ty::Number,
                    Ty::Ratio,
                    Ty::Text,
                    Ty::Instant,
                    Ty::Duration,
                    Ty::Texts,
                ]);
                let value = self.operand(ty, &Place::Customer, 2);
                let trait_name = format!("t{index}");
                set.traits.push((trait_name.clone(), value));
                self.traits.push((trait_name, ty));
            }
            let purpose = self.random.percent(20).then(|| self.random.word(&PURPOSES).to_owned());
            if self.random.percent(20) {
                let group = Group { name: format!("g{index}"), purpose, tiers: self.tiers(), carry: self.carried() };
                self.segments.extend(group.tiers.iter().map(|(tier, _)| format!("{}.{tier}", group.name)));
                set.groups.push(group);
            } else {
                let when = self.condition(&Place::Customer, 2);
                let until = self.random.percent(30).then(|| self.condition(&Place::Customer, 1));
                let carry = self.carried();
                set.segments.push(Segment { name: format!("s{index}"), when, until, purpose, carry });
                self.segments.push(format!("s{index}"));
            }
        }
        set
    }

    /// Traits whose values are exact and so can be compared.
    fn carried(&mut self) -> Vec<String> {
        let exact: Vec<String> = self
            .traits
            .iter()
            .filter(|(_, of)| !matches!(of, Ty::Ratio | Ty::Duration))
            .map(|(name, _)| name.clone())
            .collect();
        exact.into_iter().filter(|_| self.random.percent(30)).collect()
    }

    fn profile(&mut self, profile: &mut BTreeMap<String, FieldType>) {
        let all = [
            ("birth", FieldType::Instant, Ty::Instant),
            ("member", FieldType::Bool, Ty::Bool),
            ("level", FieldType::Number, Ty::Number),
            ("town", FieldType::Text, Ty::Text),
            ("likes", FieldType::ListOf(Box::new(FieldType::Text)), Ty::Texts),
        ];
        for (trait_name, declared, ty) in all {
            if self.random.percent(40) {
                profile.insert(trait_name.to_owned(), declared);
                self.traits.push((trait_name.to_owned(), ty));
            }
        }
    }

    fn tiers(&mut self) -> Vec<(String, Expr)> {
        let count = self.random.between(2, 3);
        (0..count).map(|tier| (format!("x{tier}"), self.condition(&Place::Customer, 1))).collect()
    }

    fn duration_ms(&mut self) -> i64 {
        *self.random.pick(&self.durations_ms.clone())
    }

    fn duration(&mut self) -> Expr {
        let ms = self.duration_ms();
        bare(ExprKind::Literal(Literal::Duration(ms)))
    }

    fn condition(&mut self, place: &Place<'_>, depth: usize) -> Expr {
        let customer = matches!(place, Place::Customer);
        if depth > 0 && self.random.percent(45) {
            return self.compound(place, depth - 1);
        }
        bare(match self.random.below(if customer { 13 } else { 9 }) {
            0 | 1 => self.compare(place, Ty::Number, depth),
            2 => self.text_condition(place, depth),
            3 => self.compare(place, Ty::Instant, depth),
            4 => self.between(place, depth),
            5 => {
                let ty = *self.random.pick(&[Ty::Number, Ty::Text, Ty::Instant, Ty::Texts]);
                let operand = Box::new(self.operand(ty, place, depth));
                ExprKind::IsKnown { negated: self.random.percent(40), operand }
            }
            6 => self.operand(Ty::Bool, place, depth).node,
            7 => self.compare(place, Ty::Ratio, depth),
            8 | 9 => self.compare(place, Ty::Duration, depth),
            10 if !self.segments.is_empty() => self.segment(),
            _ => self.did(depth),
        })
    }

    fn segment(&mut self) -> ExprKind {
        ExprKind::Segment(bare(self.random.pick(&self.segments.clone()).clone()))
    }

    fn compound(&mut self, place: &Place<'_>, depth: usize) -> Expr {
        let customer = matches!(place, Place::Customer);
        match self.random.below(if customer { 8 } else { 6 }) {
            0..=2 => {
                let parts = (0..2).map(|_| self.part(place, depth, |kind| matches!(kind, ExprKind::And(_)))).collect();
                bare(ExprKind::And(parts))
            }
            3 | 4 => {
                let parts = (0..2).map(|_| self.part(place, depth, |kind| matches!(kind, ExprKind::Or(_)))).collect();
                bare(ExprKind::Or(parts))
            }
            5 => bare(ExprKind::Not(Box::new(self.condition(place, depth)))),
            _ => {
                let condition = Box::new(self.condition(place, depth));
                bare(ExprKind::For { condition, duration_ms: bare(self.duration_ms()) })
            }
        }
    }

    /// A condition that is not of a kind that would be read as part of its parent.
    fn part(&mut self, place: &Place<'_>, depth: usize, same: impl Fn(&ExprKind) -> bool) -> Expr {
        let part = self.condition(place, depth);
        if same(&part.node) { bare(ExprKind::Not(Box::new(part))) } else { part }
    }

    fn compare_op(&mut self) -> CompareOp {
        use CompareOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        *self.random.pick(&[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual])
    }

    fn compare(&mut self, place: &Place<'_>, ty: Ty, depth: usize) -> ExprKind {
        let left = Box::new(self.operand(ty, place, depth));
        let right = match ty {
            Ty::Ratio if self.random.percent(30) => bare(number(self.random.word(&SHARES))),
            Ty::Ratio if self.random.percent(30) => bare(number(self.random.word(&SHARES))),
            Ty::Ratio => bare(number(self.random.word(&NUMBERS))),
            Ty::Number if self.random.percent(70) => bare(number(self.random.word(&NUMBERS))),
            Ty::Duration if self.random.percent(70) => self.duration(),
            Ty::Instant if matches!(place, Place::Customer) && self.random.percent(60) => bare(ExprKind::Now),
            ty => self.operand(ty, place, depth),
        };
        ExprKind::Compare { op: self.compare_op(), left, right: Box::new(right) }
    }

    fn between(&mut self, place: &Place<'_>, depth: usize) -> ExprKind {
        let ty = *self.random.pick(&[Ty::Number, Ty::Instant, Ty::Number]);
        let value = Box::new(self.operand(ty, place, depth));
        let (low, high) = (self.operand(ty, place, 0), self.operand(ty, place, 0));
        ExprKind::Between { negated: self.random.percent(30), value, low: Box::new(low), high: Box::new(high) }
    }

    fn text_condition(&mut self, place: &Place<'_>, depth: usize) -> ExprKind {
        let negated = self.random.percent(30);
        let word = |random: &mut Random| Literal::Text(random.word(&WORDS).to_owned());
        match self.random.below(4) {
            0 => {
                let left = Box::new(self.operand(Ty::Text, place, depth));
                let op = *self.random.pick(&[CompareOp::Equal, CompareOp::NotEqual]);
                ExprKind::Compare { op, left, right: boxed(ExprKind::Literal(word(self.random))) }
            }
            1 => {
                let value = Box::new(self.operand(Ty::Text, place, depth));
                let items = (0..2).map(|_| bare(word(self.random))).collect();
                ExprKind::In { negated, value, items }
            }
            2 => {
                let test = *self.random.pick(&[TextTest::Contains, TextTest::StartsWith, TextTest::EndsWith]);
                let left = Box::new(self.operand(Ty::Text, place, depth));
                ExprKind::TextTest { negated, test, left, right: boxed(ExprKind::Literal(word(self.random))) }
            }
            _ => {
                let left = Box::new(self.operand(Ty::Texts, place, depth));
                let right = boxed(ExprKind::Literal(word(self.random)));
                ExprKind::TextTest { negated, test: TextTest::Contains, left, right }
            }
        }
    }

    /// An operand of a type. What a filter has no such field for is a literal, or what comes nearest.
    fn operand(&mut self, ty: Ty, place: &Place<'_>, depth: usize) -> Expr {
        match place {
            Place::Filter(leaves) => self.field_operand(ty, leaves, depth),
            Place::Customer => self.customer_operand(ty, depth),
        }
    }

    fn field_operand(&mut self, ty: Ty, leaves: &[Leaf], depth: usize) -> Expr {
        let fits = |leaf: &&Leaf| match (ty, &leaf.of) {
            (Ty::Texts, FieldType::Text) => leaf.list,
            (Ty::Bool, FieldType::Bool) | (Ty::Number | Ty::Ratio, FieldType::Number) => !leaf.list,
            (Ty::Text, FieldType::Text) | (Ty::Instant, FieldType::Instant) => !leaf.list,
            _ => false,
        };
        if ty == Ty::Duration {
            let (left, right) =
                (self.field_operand(Ty::Instant, leaves, 0), self.field_operand(Ty::Instant, leaves, 0));
            return bare(ExprKind::Arithmetic {
                op: ArithmeticOp::Subtract,
                left: Box::new(left),
                right: Box::new(right),
            });
        }
        let fitting: Vec<&Leaf> = leaves.iter().filter(fits).collect();
        if fitting.is_empty() {
            return if ty == Ty::Texts { self.any_texts(leaves) } else { bare(self.literal(ty)) };
        }
        let field = bare(ExprKind::Field(path(&self.random.pick(&fitting).path.clone())));
        if depth > 0 && matches!(ty, Ty::Number | Ty::Instant) && self.random.percent(25) {
            return self.arithmetic(ty, field);
        }
        if ty != Ty::Texts && self.random.percent(10) {
            let fallback = bare(self.literal(ty));
            return bare(ExprKind::Coalesce(vec![field, fallback]));
        }
        field
    }

    /// Where no list is at hand `contains` looks into a text.
    fn any_texts(&mut self, leaves: &[Leaf]) -> Expr {
        self.field_operand(Ty::Text, leaves, 0)
    }

    fn literal(&mut self, ty: Ty) -> ExprKind {
        match ty {
            Ty::Bool => ExprKind::Literal(Literal::Bool(self.random.percent(50))),
            Ty::Number | Ty::Ratio => number(self.random.word(&NUMBERS)),
            Ty::Text | Ty::Texts => ExprKind::Literal(Literal::Text(self.random.word(&WORDS).to_owned())),
            Ty::Instant => ExprKind::Literal(Literal::Instant(self.instant_literal())),
            Ty::Duration => ExprKind::Literal(Literal::Duration(self.duration_ms())),
        }
    }

    fn instant_literal(&mut self) -> InstantLiteral {
        if self.random.percent(40) {
            let date = Timestamp::from_millisecond(self.base_ms).expect("in range").to_zoned(jiff::tz::TimeZone::UTC);
            return InstantLiteral::Date(date.date());
        }
        let ahead = self.duration_ms() * (i64::from(self.random.percent(70)) * 2 - 1);
        InstantLiteral::Exact(self.base_ms + ahead)
    }

    /// One operation on an operand, exact in decimals.
    fn arithmetic(&mut self, ty: Ty, left: Expr) -> Expr {
        let left = Box::new(left);
        let (op, right) = match ty {
            Ty::Number => match self.random.below(4) {
                0 => (ArithmeticOp::Add, bare(number(self.random.word(&NUMBERS)))),
                1 => (ArithmeticOp::Subtract, bare(number(self.random.word(&NUMBERS)))),
                2 => (ArithmeticOp::Multiply, bare(number(self.random.word(&NUMBERS)))),
                _ => (ArithmeticOp::Divide, bare(number(self.random.word(&["2", "4", "0.5", "0"])))),
            },
            Ty::Duration => match self.random.below(4) {
                0 => (ArithmeticOp::Add, self.duration()),
                1 => (ArithmeticOp::Subtract, self.duration()),
                2 => (ArithmeticOp::Multiply, bare(number(self.random.word(&["2", "0.5", "-1"])))),
                _ => (ArithmeticOp::Divide, bare(number(self.random.word(&["2", "3", "7", "0"])))),
            },
            _ => (*self.random.pick(&[ArithmeticOp::Add, ArithmeticOp::Subtract]), self.duration()),
        };
        if matches!(op, ArithmeticOp::Add | ArithmeticOp::Multiply) && self.random.percent(30) {
            return bare(ExprKind::Arithmetic { op, left: Box::new(right), right: left });
        }
        bare(ExprKind::Arithmetic { op, left, right: Box::new(right) })
    }

    fn customer_operand(&mut self, ty: Ty, depth: usize) -> Expr {
        let known: Vec<String> = self.traits.iter().filter(|(_, of)| *of == ty).map(|(name, _)| name.clone()).collect();
        if !known.is_empty() && self.random.percent(35) {
            return bare(ExprKind::Trait(name(&self.random.pick(&known).clone())));
        }
        if depth > 0 && matches!(ty, Ty::Number | Ty::Instant | Ty::Duration) && self.random.percent(25) {
            let left = self.customer_operand(ty, 0);
            return self.arithmetic(ty, left);
        }
        if depth > 0 && !matches!(ty, Ty::Ratio | Ty::Texts) && self.random.percent(10) {
            let parts = vec![self.customer_operand(ty, 0), self.customer_operand(ty, 0)];
            return bare(ExprKind::Coalesce(parts));
        }
        bare(match ty {
            Ty::Bool => self.bool_operand(depth),
            Ty::Number => self.number_operand(depth),
            Ty::Ratio => self.ratio_operand(),
            Ty::Text => self.values(&[Function::First, Function::Last, Function::Top], ty),
            Ty::Instant => self.instant_operand(),
            Ty::Duration => self.duration_operand(),
            Ty::Texts => self.values(&[Function::List, Function::First, Function::Last], ty),
        })
    }

    fn bool_operand(&mut self, depth: usize) -> ExprKind {
        if self.random.percent(50) {
            self.did(depth)
        } else {
            self.values(&[Function::First, Function::Last], Ty::Bool)
        }
    }

    fn number_operand(&mut self, depth: usize) -> ExprKind {
        match self.random.below(10) {
            0..=3 => {
                let (pattern, _) = self.pattern(depth.min(2));
                self.aggregate(Function::Count, Operand::Pattern(pattern))
            }
            4 => ExprKind::Age(Box::new(self.customer_operand(Ty::Instant, 0))),
            5 => self.distinct(),
            _ => {
                use Function::{First, Last, Max, Min, Sum, Top};
                self.values(&[Sum, Sum, Min, Max, First, Last, Top], Ty::Number)
            }
        }
    }

    fn distinct(&mut self) -> ExprKind {
        let ty = *self.random.pick(&[Ty::Text, Ty::Number, Ty::Instant, Ty::Bool]);
        self.values(&[Function::Distinct], ty)
    }

    fn ratio_operand(&mut self) -> ExprKind {
        match self.random.below(5) {
            4 => self.percentile(),
            0 => {
                let left = Box::new(self.customer_operand(Ty::Duration, 0));
                ExprKind::Arithmetic { op: ArithmeticOp::Divide, left, right: Box::new(self.duration()) }
            }
            1 => {
                let (left, right) = (self.number_operand(0), self.number_operand(0));
                ExprKind::Arithmetic { op: ArithmeticOp::Divide, left: boxed(left), right: boxed(right) }
            }
            2 => ExprKind::Bucket(bare(self.random.word(&WORDS).to_owned())),
            _ => self.values(&[Function::Avg], Ty::Number),
        }
    }

    fn percentile(&mut self) -> ExprKind {
        use Function::{Avg, Distinct, First, Last, Max, Min, Sum};
        let ranked = match self.random.below(4) {
            0 => {
                let (pattern, _) = self.pattern(1);
                self.aggregate(Function::Count, Operand::Pattern(pattern))
            }
            1 => self.values(&[First, Last, Min, Max], Ty::Instant),
            _ => self.values(&[Sum, Sum, Avg, Min, Max, Last, Distinct], Ty::Number),
        };
        match ranked {
            ExprKind::Aggregate(aggregate) => ExprKind::Percentile(Box::new(bare(*aggregate))),
            otherwise => otherwise,
        }
    }

    fn instant_operand(&mut self) -> ExprKind {
        match self.random.below(10) {
            0 => self.literal(Ty::Instant),
            1 | 2 => ExprKind::Now,
            3..=6 => {
                let (source, leaves) = self.source();
                let filter = self.filter(&leaves);
                let function = *self.random.pick(&[Function::First, Function::Last]);
                self.aggregate(function, Operand::Values { source, path: None, filter })
            }
            _ => self.values(&[Function::First, Function::Last, Function::Min, Function::Max], Ty::Instant),
        }
    }

    fn duration_operand(&mut self) -> ExprKind {
        match self.random.below(8) {
            0 => {
                let birth = self.traits.iter().any(|(known, _)| known == "birth");
                let of = match self.instant_operand() {
                    _ if birth && self.random.percent(60) => ExprKind::Trait(name("birth")),
                    // A date that moves with now has no stretch in which anything holds.
                    ExprKind::Now => self.literal(Ty::Instant),
                    of => of,
                };
                ExprKind::Anniversary(boxed(of))
            }
            1 => self.literal(Ty::Duration),
            2 => {
                let (left, right) = (self.instant_operand(), self.instant_operand());
                ExprKind::Arithmetic { op: ArithmeticOp::Subtract, left: boxed(left), right: boxed(right) }
            }
            _ => {
                let right = Box::new(self.customer_operand(Ty::Instant, 0));
                ExprKind::Arithmetic { op: ArithmeticOp::Subtract, left: boxed(ExprKind::Now), right }
            }
        }
    }

    fn did(&mut self, depth: usize) -> ExprKind {
        let (pattern, _) = self.pattern(depth.min(2));
        self.aggregate(Function::Did, Operand::Pattern(pattern))
    }

    fn aggregate(&mut self, function: Function, over: Operand) -> ExprKind {
        let window = self.window();
        ExprKind::Aggregate(Box::new(Aggregate { function: bare(function), over, window }))
    }

    /// An aggregate over values of a type; where no event has any, a literal.
    fn values(&mut self, functions: &[Function], ty: Ty) -> ExprKind {
        let function = *self.random.pick(functions);
        let whole_list = matches!(function, Function::First | Function::Last);
        for _ in 0..10 {
            let (source, leaves) = self.source();
            let fits = |leaf: &&Leaf| {
                let list_fits = match ty {
                    Ty::Texts => !whole_list || leaf.list,
                    _ => !whole_list || !leaf.list,
                };
                let wanted = match ty {
                    Ty::Bool => FieldType::Bool,
                    Ty::Number | Ty::Ratio | Ty::Duration => FieldType::Number,
                    Ty::Text | Ty::Texts => FieldType::Text,
                    Ty::Instant => FieldType::Instant,
                };
                list_fits && leaf.of == wanted
            };
            let fitting: Vec<&Leaf> = leaves.iter().filter(fits).collect();
            if fitting.is_empty() {
                continue;
            }
            let leaf = (*self.random.pick(&fitting)).clone();
            let filter = self.filter(&leaves);
            return self.aggregate(function, over_leaf(source, &leaf, filter));
        }
        match ty {
            Ty::Texts => ExprKind::Aggregate(Box::new(self.list_of_ids())),
            _ if matches!(function, Function::Distinct) => self.literal(Ty::Number),
            ty => self.literal(ty),
        }
    }

    /// A list that every vocabulary has.
    fn list_of_ids(&mut self) -> Aggregate {
        let (mut source, _) = self.source();
        source.each = false;
        source.path = None;
        let over = Operand::Values { source, path: Some(path(&["event_id".to_owned()])), filter: None };
        Aggregate { function: bare(Function::List), over, window: Window::Ever }
    }

    /// Events of a type or elements of an array in them, and the fields they have.
    fn source(&mut self) -> (Source, Vec<Leaf>) {
        let all: Vec<_> = self.schemas.iter().collect();
        let (event, fields) = *self.random.pick(&all);
        let arrays: Vec<_> = fields
            .iter()
            .filter_map(|(array, of)| match of {
                FieldType::ArrayOf(elements) => Some((array, elements)),
                _ => None,
            })
            .collect();
        let span = Span::default();
        if !arrays.is_empty() && self.random.percent(40) {
            let (array, elements) = *self.random.pick(&arrays);
            let source = Source { each: true, event: name(event), path: Some(path(std::slice::from_ref(array))), span };
            return (source, leaves_with_envelope(elements));
        }
        (Source { each: false, event: name(event), path: None, span }, leaves_with_envelope(fields))
    }

    fn filter(&mut self, leaves: &[Leaf]) -> Option<Box<Expr>> {
        self.random.percent(35).then(|| Box::new(self.condition(&Place::Filter(leaves), 1)))
    }

    fn window(&mut self) -> Window {
        match self.random.below(20) {
            0..=4 => Window::Ever,
            5..=13 => Window::Over(bare(self.duration_ms())),
            14 => Window::SinceInstant(bare(self.instant_literal())),
            15 | 16 => {
                let (source, _) = self.source();
                let fields = leaves_with_envelope(&self.schemas[&source.event.node]);
                let filter = self.filter(&fields);
                let last = self.random.percent(60);
                Window::SinceAnchor(Box::new(Anchor { last, event: source.event, filter, span: Span::default() }))
            }
            _ => {
                use CalendarUnit::{Day, Month, Week, Year};
                Window::This(*self.random.pick(&[Day, Day, Week, Month, Year]))
            }
        }
    }

    fn pattern(&mut self, depth: usize) -> (Pattern, Vec<Leaf>) {
        let span = Span::default();
        if self.random.percent(40) {
            let (step, leaves) = self.step(0);
            return (Pattern { kind: PatternKind::Step(Box::new(step)), span }, leaves);
        }
        let (first, first_leaves) = self.step(depth);
        let (second, second_leaves) = self.step(depth);
        let on = self.on(&first_leaves, &second_leaves);
        let relation = Box::new(Relation { first, second, on, duration_ms: bare(self.duration_ms()) });
        match self.random.below(3) {
            0 => (Pattern { kind: PatternKind::Then(relation), span }, second_leaves),
            1 => (Pattern { kind: PatternKind::Without(relation), span }, first_leaves),
            _ => (Pattern { kind: PatternKind::After(relation), span }, first_leaves),
        }
    }

    fn step(&mut self, depth: usize) -> (Step, Vec<Leaf>) {
        if depth > 0 && self.random.percent(30) {
            let (pattern, leaves) = self.pattern(depth - 1);
            // Parentheses around a single step mean nothing and are not in the tree.
            return match pattern.kind {
                PatternKind::Step(step) => (*step, leaves),
                _ => (Step::Pattern(Box::new(pattern)), leaves),
            };
        }
        let (source, leaves) = self.source();
        let filter = self.filter(&leaves);
        (Step::Events { source, filter }, leaves)
    }

    fn on(&mut self, first: &[Leaf], second: &[Leaf]) -> Option<On> {
        let usable = |leaf: &Leaf| matches!(leaf.of, FieldType::Text | FieldType::Number) && leaf.path[0] != "event_id";
        let mut pairs = vec![];
        for left in first.iter().filter(|leaf| usable(leaf)) {
            let fitting = second.iter().filter(|right| right.of == left.of && right.list == left.list);
            pairs.extend(fitting.map(|right| (left.path.clone(), right.path.clone())));
        }
        if pairs.is_empty() || !self.random.percent(40) {
            return None;
        }
        let (left, right) = self.random.pick(&pairs).clone();
        let second = (left != right).then(|| path(&right));
        Some(On { first: path(&left), second, span: Span::default() })
    }
}

/// A leaf of a source as what an aggregate is over. `each` keeps the whole path in its source.
fn over_leaf(mut source: Source, leaf: &Leaf, filter: Option<Box<Expr>>) -> Operand {
    if !source.each {
        return Operand::Values { source, path: Some(path(&leaf.path)), filter };
    }
    if let Some(array) = &mut source.path {
        array.names.extend(path(&leaf.path).names);
    }
    Operand::Values { source, path: None, filter }
}
