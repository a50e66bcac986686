//! Builds aggregates and patterns, and leads to them the events and matches they are made of: which events of a type,
//! which of their fields, past which filter.

use crate::engine::catalog::{
    Aggregate, AggregateId, EventTypeId, Feed, Filter, FilterId, Function as Computed, Pattern, PatternId,
    Relation as Kind, Side, Slot, Target, Window,
};
use crate::engine::projection::{ProjectedArray, ProjectedField};
use crate::engine::value::Type;

use super::super::ast::{
    Aggregate as WrittenAggregate, Anchor, Expr, Function, Operand, Path, Pattern as WrittenPattern, PatternKind,
    Relation, Source, Step, Window as WrittenWindow,
};
use super::aggregate::result_type;
use super::fields::{EventScope, ResolvedField};
use super::graph::{Graph, Unbuildable, position};

impl<'a> Graph<'a> {
    /// The aggregate, built with all that feeds it if it is new.
    pub(super) fn aggregate(&mut self, aggregate: &WrittenAggregate) -> Result<AggregateId, Unbuildable> {
        let text = aggregate.to_string();
        if let Some(id) = self.aggregates.get(&text) {
            return Ok(*id);
        }
        // An anchor comes before its users.
        let window = self.window(&aggregate.window)?;
        let function = aggregate.function.node;
        match &aggregate.over {
            Operand::Pattern(pattern) => self.count(pattern, window, text),
            Operand::Values { source, path, filter } => {
                let (scope, rest) = self.scope(source)?;
                let path = rest.as_ref().or(path.as_ref());
                let field = path.map(|path| scope.resolve(path)).transpose().map_err(|_| Unbuildable)?;
                let value_type = match &field {
                    Some(field) => result_type(function, &field.value_type).ok_or(Unbuildable)?,
                    None => Type::Instant,
                };
                let id = self.new_aggregate(computed(function), window, text, value_type);
                let slot = field.map(|field| self.slot(&scope, &field)).transpose()?;
                self.feed(&scope, filter.as_deref(), Target::Aggregate { aggregate: id, slot })?;
                Ok(id)
            }
        }
    }

    fn count(&mut self, pattern: &WrittenPattern, window: Window, text: String) -> Result<AggregateId, Unbuildable> {
        if let PatternKind::Step(step) = &pattern.kind {
            return match step.as_ref() {
                Step::Events { source, filter } => {
                    let (scope, _) = self.scope(source)?;
                    let id = self.new_aggregate(Computed::Count, window, text, Type::Number);
                    self.feed(&scope, filter.as_deref(), Target::Aggregate { aggregate: id, slot: None })?;
                    Ok(id)
                }
                Step::Pattern(inner) => self.count(inner, window, text),
            };
        }
        let pattern = self.pattern(pattern, &[])?;
        let id = self.new_aggregate(Computed::Count, window, text, Type::Number);
        self.target(pattern, Target::Aggregate { aggregate: id, slot: None })?;
        Ok(id)
    }

    fn new_aggregate(&mut self, function: Computed, window: Window, text: String, value_type: Type) -> AggregateId {
        let key = self.state_key(&state_text(&text, function, window));
        let aggregate = Aggregate { key, function, window, text: text.as_str().into(), value_type };
        let id = self.push_aggregate(aggregate);
        self.aggregates.insert(text, id);
        id
    }

    fn window(&mut self, window: &WrittenWindow) -> Result<Window, Unbuildable> {
        Ok(match window {
            WrittenWindow::Ever => Window::Ever,
            WrittenWindow::Over(duration_ms) => Window::Over { duration_ms: duration_ms.node },
            WrittenWindow::SinceInstant(instant) => Window::Since { instant: self.instant(&instant.node)? },
            WrittenWindow::SinceAnchor(anchor) => Window::SinceAnchor { anchor: self.anchor(anchor)? },
            WrittenWindow::This(unit) => Window::This(*unit),
        })
    }

    /// An anchor is the aggregate it looks like.
    fn anchor(&mut self, anchor: &Anchor) -> Result<AggregateId, Unbuildable> {
        let function = if anchor.last { Function::Last } else { Function::First };
        let source = Source { each: false, event: anchor.event.clone(), path: None, span: anchor.span };
        self.aggregate(&WrittenAggregate {
            function: super::super::ast::Spanned { node: function, span: anchor.span },
            over: Operand::Values { source, path: None, filter: anchor.filter.clone() },
            window: WrittenWindow::Ever,
        })
    }

    /// The pattern whose matches carry the values of these fields of their base, built if it is new.
    fn pattern(&mut self, pattern: &WrittenPattern, carried: &[Path]) -> Result<PatternId, Unbuildable> {
        let (kind, relation) = match &pattern.kind {
            PatternKind::Then(relation) => (Kind::Then, relation),
            PatternKind::Without(relation) => (Kind::Without, relation),
            PatternKind::After(relation) => (Kind::After, relation),
            PatternKind::Step(step) => match step.as_ref() {
                Step::Pattern(inner) => return self.pattern(inner, carried),
                Step::Events { .. } => return Err(Unbuildable),
            },
        };
        let mut text = pattern.to_string();
        for path in carried {
            text.push_str(" carrying ");
            text.push_str(&super::fields::path_text(path));
        }
        if let Some(id) = self.patterns.get(&text) {
            return Ok(*id);
        }
        let steps = self.steps(kind, relation, carried)?;
        let (id, key) = (PatternId(position(self.catalog.patterns.len())), self.state_key(&text));
        self.catalog.patterns.push(Pattern {
            key,
            relation: kind,
            duration_ms: relation.duration_ms.node,
            on: relation.on.is_some(),
            targets: Vec::new(),
        });
        self.patterns.insert(text, id);
        for step in steps {
            self.lead(step, id)?;
        }
        Ok(id)
    }

    /// The two steps with their sides and the fields whose values they bring; inner patterns are built here, so that
    /// they come before the one around them.
    fn steps<'s>(
        &mut self,
        kind: Kind,
        relation: &'s Relation,
        carried: &[Path],
    ) -> Result<[PlacedStep<'s>; 2], Unbuildable> {
        let (first_side, second_side, base) = match kind {
            Kind::Then => (Side::A, Side::B, Side::B),
            Kind::Without => (Side::A, Side::B, Side::A),
            Kind::After => (Side::B, Side::A, Side::B),
        };
        let on = relation.on.as_ref();
        let first_key = on.map(|on| &on.first);
        let second_key = on.map(|on| on.second.as_ref().unwrap_or(&on.first));
        let mut place = |step: &'s Step, side: Side, key: Option<&Path>| {
            let mut keys: Vec<Path> = key.cloned().into_iter().collect();
            if side == base {
                keys.extend(carried.iter().cloned());
            }
            let inner = match step {
                Step::Events { .. } => None,
                Step::Pattern(pattern) => Some(self.pattern(pattern, &keys)?),
            };
            Ok(PlacedStep { step, inner, side, keys })
        };
        Ok([place(&relation.first, first_side, first_key)?, place(&relation.second, second_side, second_key)?])
    }

    fn lead(&mut self, placed: PlacedStep<'_>, pattern: PatternId) -> Result<(), Unbuildable> {
        let PlacedStep { step, inner, side, keys } = placed;
        if let Some(inner) = inner {
            return self.target(inner, Target::Step { pattern, side, keys: Vec::new() });
        }
        let Step::Events { source, filter } = step else { return Err(Unbuildable) };
        let (scope, _) = self.scope(source)?;
        let mut slots = Vec::with_capacity(keys.len());
        for path in &keys {
            let field = scope.resolve(path).map_err(|_| Unbuildable)?;
            slots.push(self.slot(&scope, &field)?);
        }
        self.feed(&scope, filter.as_deref(), Target::Step { pattern, side, keys: slots })
    }

    fn target(&mut self, pattern: PatternId, target: Target) -> Result<(), Unbuildable> {
        self.catalog.patterns.get_mut(pattern.index()).ok_or(Unbuildable)?.targets.push(target);
        Ok(())
    }

    fn scope(&self, source: &Source) -> Result<(EventScope<'a>, Option<Path>), Unbuildable> {
        let event = self.names.schemas.events.get(&source.event.node).ok_or(Unbuildable)?;
        match &source.path {
            Some(path) if source.each => EventScope::each(event, path).map_err(|_| Unbuildable),
            _ => Ok((EventScope { event, array: None }, None)),
        }
    }

    fn event_type(&self, scope: &EventScope<'_>) -> Result<EventTypeId, Unbuildable> {
        self.catalog.event_type_ids.get(&scope.event.name).copied().ok_or(Unbuildable)
    }

    fn feed(&mut self, scope: &EventScope<'_>, filter: Option<&Expr>, target: Target) -> Result<(), Unbuildable> {
        let filter = filter.map(|filter| self.filter(scope, filter)).transpose()?;
        let array = self.array(scope)?;
        let id = self.event_type(scope)?;
        let event_type = self.catalog.event_types.get_mut(id.index()).ok_or(Unbuildable)?;
        event_type.feeds.push(Feed { array, filter, target });
        Ok(())
    }

    /// The array of a scope in its event's projection, added if it is new.
    fn array(&mut self, scope: &EventScope<'_>) -> Result<Option<usize>, Unbuildable> {
        let Some((path, _)) = &scope.array else { return Ok(None) };
        let id = self.event_type(scope)?;
        let arrays = &mut self.catalog.event_types.get_mut(id.index()).ok_or(Unbuildable)?.projection.arrays;
        let found = arrays.iter().position(|array| array.path == *path).unwrap_or_else(|| {
            arrays.push(ProjectedArray { path: path.clone(), fields: Vec::new() });
            arrays.len() - 1
        });
        Ok(Some(found))
    }

    /// The slot of a field in its event's or array's projection, added if it is new.
    pub(super) fn slot(&mut self, scope: &EventScope<'_>, field: &ResolvedField) -> Result<Slot, Unbuildable> {
        let array = self.array(scope)?;
        let id = self.event_type(scope)?;
        let projection = &mut self.catalog.event_types.get_mut(id.index()).ok_or(Unbuildable)?.projection;
        let fields = match array {
            None => &mut projection.fields,
            Some(array) => &mut projection.arrays.get_mut(array).ok_or(Unbuildable)?.fields,
        };
        Ok(fields.iter().position(|other| other.path == field.path).unwrap_or_else(|| {
            fields.push(ProjectedField { path: field.path.clone(), value_type: field.value_type.clone() });
            fields.len() - 1
        }))
    }

    fn filter(&mut self, scope: &EventScope<'_>, filter: &Expr) -> Result<FilterId, Unbuildable> {
        let text = filter.to_string();
        let name = (self.event_type(scope)?, self.array(scope)?, text);
        if let Some(id) = self.filters.get(&name) {
            return Ok(*id);
        }
        let condition = self.field_expr(scope, filter)?;
        let id = FilterId(position(self.catalog.filters.len()));
        self.catalog.filters.push(Filter { text: name.2.clone(), condition });
        self.filters.insert(name, id);
        Ok(id)
    }
}

/// What names the state of an aggregate: its text. Sliding windows of different lengths share one where that takes no more
/// than each by itself.
fn state_text(text: &str, function: Computed, window: Window) -> String {
    use Computed::{Average, Count, Greatest, Least, Sum};
    let is_shared =
        matches!(window, Window::Over { .. }) && matches!(function, Count | Sum | Average | Least | Greatest);
    match text.rsplit_once(" over ").filter(|_| is_shared) {
        Some((events, _)) => format!("{events} over any)"),
        None => text.to_owned(),
    }
}

/// A step of a pattern, with what it brings.
struct PlacedStep<'s> {
    step: &'s Step,
    inner: Option<PatternId>,
    side: Side,
    keys: Vec<Path>,
}

fn computed(function: Function) -> Computed {
    match function {
        Function::Did | Function::Count => Computed::Count,
        Function::First => Computed::First,
        Function::Last => Computed::Last,
        Function::Sum => Computed::Sum,
        Function::Avg => Computed::Average,
        Function::Min => Computed::Least,
        Function::Max => Computed::Greatest,
        Function::Distinct => Computed::Distinct,
        Function::Top => Computed::Top,
        Function::List => Computed::List,
    }
}
