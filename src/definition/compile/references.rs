//! Which traits and segments an expression asks about, and in which order they can be worked out. What goes round in a
//! circle has no order and is refused.

use hashbrown::HashSet;

use super::super::ast::{Expr, ExprKind, Span};
use super::super::source::{Problem, SourceFile};
use super::super::spec::Expression;
use super::names::{Names, TraitEntry};

/// A trait or a segment, by its position in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Trait(usize),
    Segment(usize),
}

/// Everything in an order in which each item comes after what it asks about.
pub(super) struct Order {
    pub(super) items: Vec<Item>,
    /// Items of a circle: reported, and of no known type.
    pub(super) circular: HashSet<Item>,
}

/// A mention of an item: where, if it is written at all (a tier follows the one before it without saying so).
struct Mention<'a> {
    item: Item,
    written: Option<(&'a Expression, Span)>,
}

pub(super) fn order(names: &Names<'_>, files: &[SourceFile], problems: &mut Vec<Problem>) -> Order {
    let mut walk = Walk {
        names,
        files,
        problems,
        done: HashSet::new(),
        open: Vec::new(),
        order: Vec::new(),
        circular: HashSet::new(),
    };
    let traits = (0..names.spec.traits.len()).map(Item::Trait);
    let segments = (0..names.segments.len()).map(Item::Segment);
    for item in traits.chain(segments) {
        walk.visit(item);
    }
    Order { items: walk.order, circular: walk.circular }
}

/// A depth-first walk with its own stack: a chain may be as long as the set.
struct Walk<'a, 'p> {
    names: &'a Names<'a>,
    files: &'p [SourceFile],
    problems: &'p mut Vec<Problem>,
    done: HashSet<Item>,
    open: Vec<(Item, Vec<Mention<'a>>)>,
    order: Vec<Item>,
    circular: HashSet<Item>,
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, item: Item) {
        self.enter(item);
        while let Some((item, mentions)) = self.open.last_mut() {
            let item = *item;
            match mentions.pop() {
                None => {
                    self.open.pop();
                    self.order.push(item);
                }
                Some(mention) => match self.open.iter().position(|(open, _)| *open == mention.item) {
                    Some(start) => self.circle(start, &mention),
                    None => self.enter(mention.item),
                },
            }
        }
    }

    fn enter(&mut self, item: Item) {
        if self.done.insert(item) {
            let mut mentions = self.mentions(item);
            mentions.reverse();
            self.open.push((item, mentions));
        }
    }

    fn circle(&mut self, start: usize, mention: &Mention<'a>) {
        let Some((expression, span)) = mention.written else { return };
        let items: Vec<Item> = self.open.iter().skip(start).map(|(item, _)| *item).collect();
        let already = items.iter().all(|item| self.circular.contains(item));
        self.circular.extend(items.iter().copied());
        if already {
            return;
        }
        let mut path: Vec<String> = items.iter().map(|item| self.name(*item)).collect();
        path.push(self.name(mention.item));
        let message = format!("{} depends on itself", self.name(mention.item));
        let place = expression.source.locate(self.files, span);
        let mut help = path.join(" → ");
        if items.iter().any(|item| self.is_tier(*item)) {
            help.push_str("; a tier also depends on the conditions of the tiers before it");
        }
        self.problems.push(Problem::new("cycle", place, message).help(help));
    }

    fn is_tier(&self, item: Item) -> bool {
        matches!(item, Item::Segment(position) if self.names.segments.get(position).is_some_and(|entry| entry.tier.is_some()))
    }

    fn name(&self, item: Item) -> String {
        match item {
            Item::Trait(position) => {
                let name = self.names.spec.traits.get(position).map_or("", |entry| entry.name.value.as_str());
                format!("trait `{name}`")
            }
            Item::Segment(position) => {
                let name = self.names.segments.get(position).map_or("", |entry| entry.name.as_str());
                format!("segment `{name}`")
            }
        }
    }

    fn mentions(&self, item: Item) -> Vec<Mention<'a>> {
        let mut mentions = Vec::new();
        match item {
            Item::Trait(position) => {
                let value = self.names.spec.traits.get(position).and_then(|entry| entry.value.as_ref());
                self.mentioned(value, &mut mentions);
            }
            Item::Segment(position) => {
                let Some(entry) = self.names.segments.get(position) else { return mentions };
                // Tiers stay in their order, and a tier's condition holds those before it.
                let earlier = entry.tier.iter().flat_map(|tier| &tier.earlier);
                for position in earlier {
                    mentions.push(Mention { item: Item::Segment(*position), written: None });
                    let when = self.names.segments.get(*position).and_then(|entry| entry.when);
                    self.mentioned(when, &mut mentions);
                }
                self.mentioned(entry.when, &mut mentions);
                self.mentioned(entry.until, &mut mentions);
            }
        }
        mentions
    }

    fn mentioned(&self, expression: Option<&'a Expression>, mentions: &mut Vec<Mention<'a>>) {
        let Some(expression) = expression else { return };
        visit(&expression.expr, &mut |expr| {
            let item = match &expr.node {
                ExprKind::Trait(name) => match self.names.traits.get(name.node.as_str()) {
                    Some(TraitEntry::Computed(position, _)) => Item::Trait(*position),
                    _ => return,
                },
                ExprKind::Segment(name) => match self.names.segment_positions.get(&name.node) {
                    Some(position) => Item::Segment(*position),
                    None => return,
                },
                _ => return,
            };
            mentions.push(Mention { item, written: Some((expression, expr.span)) });
        });
    }
}

/// Every expression about the customer, outermost first; not those about one event, in filters.
pub(super) fn visit<'e>(expr: &'e Expr, each: &mut dyn FnMut(&'e Expr)) {
    each(expr);
    match &expr.node {
        ExprKind::Or(parts) | ExprKind::And(parts) | ExprKind::Coalesce(parts) => {
            for part in parts {
                visit(part, each);
            }
        }
        ExprKind::Not(part) | ExprKind::Negate(part) | ExprKind::Age(part) | ExprKind::Anniversary(part) => {
            visit(part, each);
        }
        ExprKind::For { condition, .. } => visit(condition, each),
        ExprKind::Compare { left, right, .. }
        | ExprKind::TextTest { left, right, .. }
        | ExprKind::Arithmetic { left, right, .. } => {
            visit(left, each);
            visit(right, each);
        }
        ExprKind::Between { value, low, high, .. } => {
            visit(value, each);
            visit(low, each);
            visit(high, each);
        }
        ExprKind::In { value, .. } => visit(value, each),
        ExprKind::IsKnown { operand, .. } => visit(operand, each),
        ExprKind::Literal(_)
        | ExprKind::Now
        | ExprKind::Trait(_)
        | ExprKind::Field(_)
        | ExprKind::Aggregate(_)
        | ExprKind::Segment(_)
        | ExprKind::Bucket(_)
        | ExprKind::Percentile(_) => {}
    }
}
