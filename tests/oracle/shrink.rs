//! From a case that fails to the least that still does: records, segments, expressions and fields are dropped, greedily.

use segue::definition::ast::{
    Aggregate, Expr, ExprKind, Literal, Operand, Pattern, PatternKind, Relation, Span, Spanned, Step, Window,
};
use serde_json::Value as Json;

use crate::case::Case;
use crate::definitions::Set;
use crate::print::text;
use crate::replay::Settings;

/// How many cases may be tried.
const MOST_TRIES: usize = 3000;

/// The least case found that still fails.
pub(crate) fn shrink(case: Case, fails: &dyn Fn(&Case) -> bool) -> Case {
    let mut least = case;
    let mut tries = 0;
    'again: loop {
        for candidate in simpler_cases(&least) {
            tries += 1;
            if tries > MOST_TRIES {
                return least;
            }
            if fails(&candidate) {
                least = candidate;
                continue 'again;
            }
        }
        return least;
    }
}

fn simpler_cases(case: &Case) -> Vec<Case> {
    let mut cases: Vec<Case> =
        fewer_lines(&case.lines).into_iter().map(|lines| Case { lines, ..case.clone() }).collect();
    cases.extend(smaller_sets(&case.set).into_iter().map(|set| Case { set, ..case.clone() }));
    cases.extend(plainer_settings(&case.settings).into_iter().map(|settings| Case { settings, ..case.clone() }));
    cases.extend(shorter_lines(&case.lines).into_iter().map(|lines| Case { lines, ..case.clone() }));
    cases
}

fn fewer_lines(lines: &[Json]) -> Vec<Vec<Json>> {
    let mut fewer = vec![];
    if lines.len() > 3 {
        let middle = lines.len() / 2;
        fewer.extend([lines[..middle].to_vec(), lines[middle..].to_vec()]);
    }
    fewer.extend((0..lines.len()).map(|index| without(lines, index)));
    fewer
}

fn without<T: Clone>(items: &[T], index: usize) -> Vec<T> {
    let mut fewer = items.to_vec();
    fewer.remove(index);
    fewer
}

fn replaced<T: Clone>(items: &[T], index: usize, by: T) -> Vec<T> {
    let mut others = items.to_vec();
    others[index] = by;
    others
}

/// Lines with a field, a trait or an element less.
fn shorter_lines(lines: &[Json]) -> Vec<Vec<Json>> {
    let mut shorter = vec![];
    for (index, line) in lines.iter().enumerate() {
        shorter.extend(shorter_json(line, true).into_iter().map(|line| replaced(lines, index, line)));
    }
    shorter
}

fn shorter_json(json: &Json, outermost: bool) -> Vec<Json> {
    const KEPT: [&str; 7] = ["type", "event_id", "customer_id", "occurred_at", "traits", "purpose", "granted"];
    match json {
        Json::Object(fields) => {
            let mut shorter = vec![];
            for (name, value) in fields {
                if !outermost || !KEPT.contains(&name.as_str()) {
                    let mut fewer = fields.clone();
                    fewer.remove(name);
                    shorter.push(Json::Object(fewer));
                }
                for value in shorter_json(value, false) {
                    let mut changed = fields.clone();
                    changed.insert(name.clone(), value);
                    shorter.push(Json::Object(changed));
                }
            }
            shorter
        }
        Json::Array(items) => {
            let mut shorter: Vec<Json> = (0..items.len()).map(|index| Json::Array(without(items, index))).collect();
            for (index, item) in items.iter().enumerate() {
                let changed = shorter_json(item, false).into_iter();
                shorter.extend(changed.map(|item| Json::Array(replaced(items, index, item))));
            }
            shorter
        }
        _ => vec![],
    }
}

fn plainer_settings(settings: &Settings) -> Vec<Settings> {
    let plain = Settings::default();
    let mut plainer = vec![
        Settings { until: None, ..settings.clone() },
        Settings { zone: plain.zone, ..settings.clone() },
        Settings { grace_ms: plain.grace_ms, ..settings.clone() },
        Settings { allowed_lateness_ms: plain.allowed_lateness_ms, ..settings.clone() },
        Settings { percentile_refresh_ms: plain.percentile_refresh_ms, ..settings.clone() },
        Settings { dedup_window_ms: plain.dedup_window_ms, ..settings.clone() },
    ];
    plainer.retain(|other| other != settings);
    plainer
}

fn smaller_sets(set: &Set) -> Vec<Set> {
    let mut sets = vec![];
    for index in 0..set.segments.len() {
        sets.push(Set { segments: without(&set.segments, index), ..set.clone() });
    }
    for index in 0..set.groups.len() {
        sets.push(Set { groups: without(&set.groups, index), ..set.clone() });
    }
    for index in 0..set.traits.len() {
        sets.push(Set { traits: without(&set.traits, index), ..set.clone() });
    }
    for name in set.profile.keys() {
        let mut smaller = set.clone();
        smaller.profile.remove(name);
        sets.push(smaller);
    }
    sets.retain(holds_together);
    sets.extend(simpler_parts(set));
    sets
}

/// Whether everything that is used is there.
fn holds_together(set: &Set) -> bool {
    let mut texts = set.expressions().map(text);
    let segments: Vec<String> = set
        .segments
        .iter()
        .map(|segment| segment.name.clone())
        .chain(set.groups.iter().flat_map(|group| group.tiers.iter().map(|(tier, _)| format!("{}.{tier}", group.name))))
        .collect();
    let traits: Vec<&str> =
        set.traits.iter().map(|(name, _)| name.as_str()).chain(set.profile.keys().map(String::as_str)).collect();
    let mut carried =
        set.segments.iter().flat_map(|segment| &segment.carry).chain(set.groups.iter().flat_map(|group| &group.carry));
    !segments.is_empty()
        && carried.all(|name| traits.contains(&name.as_str()))
        && texts.all(|text| {
            let asked = text.split("segment(\"").skip(1).filter_map(|rest| rest.split('"').next());
            let used = text.split("trait.").skip(1).map(|rest| {
                rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').next().unwrap_or_default()
            });
            asked.into_iter().all(|name| segments.iter().any(|known| known == name))
                && used.into_iter().all(|name| traits.contains(&name))
        })
}

/// Sets with one expression simpler, or one of `until`, `purpose` or a tier less.
fn simpler_parts(set: &Set) -> Vec<Set> {
    let mut sets = vec![];
    for (index, segment) in set.segments.iter().enumerate() {
        let mut put = |segment| sets.push(Set { segments: replaced(&set.segments, index, segment), ..set.clone() });
        if let Some(until) = &segment.until {
            put(crate::definitions::Segment { until: None, ..segment.clone() });
            for until in simpler_condition(until, set) {
                put(crate::definitions::Segment { until: Some(until), ..segment.clone() });
            }
        }
        for place in 0..segment.carry.len() {
            put(crate::definitions::Segment { carry: without(&segment.carry, place), ..segment.clone() });
        }
        if segment.purpose.is_some() {
            put(crate::definitions::Segment { purpose: None, ..segment.clone() });
        }
        for when in simpler_condition(&segment.when, set) {
            put(crate::definitions::Segment { when, ..segment.clone() });
        }
    }
    for (index, group) in set.groups.iter().enumerate() {
        let mut put = |group| sets.push(Set { groups: replaced(&set.groups, index, group), ..set.clone() });
        for place in 0..group.carry.len() {
            put(crate::definitions::Group { carry: without(&group.carry, place), ..group.clone() });
        }
        if group.purpose.is_some() {
            put(crate::definitions::Group { purpose: None, ..group.clone() });
        }
        for (place, (tier, when)) in group.tiers.iter().enumerate() {
            put(crate::definitions::Group { tiers: without(&group.tiers, place), ..group.clone() });
            for when in simpler_condition(when, set) {
                let tiers = replaced(&group.tiers, place, (tier.clone(), when));
                put(crate::definitions::Group { tiers, ..group.clone() });
            }
        }
    }
    for (index, (name, value)) in set.traits.iter().enumerate() {
        for value in simpler(value, set) {
            sets.push(Set { traits: replaced(&set.traits, index, (name.clone(), value)), ..set.clone() });
        }
    }
    sets.retain(holds_together);
    sets.retain(|set| set.groups.iter().all(|group| !group.tiers.is_empty()));
    sets
}

fn bare<T>(node: T) -> Spanned<T> {
    Spanned { node, span: Span::default() }
}

fn simpler_condition(expr: &Expr, set: &Set) -> Vec<Expr> {
    let mut exprs = vec![];
    if !matches!(expr.node, ExprKind::Literal(_)) {
        exprs.extend([true, false].map(|truth| bare(ExprKind::Literal(Literal::Bool(truth)))));
    }
    exprs.extend(simpler(expr, set));
    exprs
}

/// Expressions one step simpler. Some may be of another type: then the case is refused and the next one tried.
fn simpler(expr: &Expr, set: &Set) -> Vec<Expr> {
    let inside = |part: &Expr, wrap: &dyn Fn(Box<Expr>) -> ExprKind| -> Vec<Expr> {
        simpler(part, set).into_iter().map(|part| bare(wrap(Box::new(part)))).collect()
    };
    let within = |parts: &[Expr], wrap: &dyn Fn(Vec<Expr>) -> ExprKind| -> Vec<Expr> {
        let mut exprs = parts.to_vec();
        for (index, part) in parts.iter().enumerate() {
            exprs.extend(simpler(part, set).into_iter().map(|part| bare(wrap(replaced(parts, index, part)))));
        }
        exprs
    };
    match &expr.node {
        ExprKind::Or(parts) => within(parts, &ExprKind::Or),
        ExprKind::And(parts) => within(parts, &ExprKind::And),
        ExprKind::Coalesce(parts) => within(parts, &ExprKind::Coalesce),
        ExprKind::Not(part) => with_itself(part, inside(part, &ExprKind::Not)),
        ExprKind::Negate(part) => with_itself(part, inside(part, &ExprKind::Negate)),
        ExprKind::For { condition, duration_ms } => {
            let wrap = |condition| ExprKind::For { condition, duration_ms: duration_ms.clone() };
            with_itself(condition, inside(condition, &wrap))
        }
        ExprKind::Compare { op, left, right } => {
            let mut exprs = inside(left, &|left| ExprKind::Compare { op: *op, left, right: right.clone() });
            exprs.extend(inside(right, &|right| ExprKind::Compare { op: *op, left: left.clone(), right }));
            exprs
        }
        ExprKind::Arithmetic { op, left, right } => {
            let mut exprs = vec![(**left).clone(), (**right).clone()];
            exprs.extend(inside(left, &|left| ExprKind::Arithmetic { op: *op, left, right: right.clone() }));
            exprs.extend(inside(right, &|right| ExprKind::Arithmetic { op: *op, left: left.clone(), right }));
            exprs
        }
        ExprKind::Between { negated, value, low, high } => {
            inside(value, &|value| ExprKind::Between { negated: *negated, value, low: low.clone(), high: high.clone() })
        }
        ExprKind::In { negated, value, items } => {
            inside(value, &|value| ExprKind::In { negated: *negated, value, items: items.clone() })
        }
        ExprKind::TextTest { negated, test, left, right } => {
            inside(left, &|left| ExprKind::TextTest { negated: *negated, test: *test, left, right: right.clone() })
        }
        ExprKind::IsKnown { negated, operand } => {
            inside(operand, &|operand| ExprKind::IsKnown { negated: *negated, operand })
        }
        ExprKind::Age(of) => inside(of, &ExprKind::Age),
        ExprKind::Anniversary(of) => inside(of, &ExprKind::Anniversary),
        ExprKind::Aggregate(of) => simpler_aggregates(of, set)
            .into_iter()
            .map(|aggregate| bare(ExprKind::Aggregate(Box::new(aggregate))))
            .collect(),
        ExprKind::Trait(name) => {
            set.traits.iter().filter(|(known, _)| *known == name.node).map(|(_, value)| value.clone()).collect()
        }
        ExprKind::Segment(name) => {
            set.segments.iter().filter(|known| known.name == name.node).map(|known| known.when.clone()).collect()
        }
        ExprKind::Percentile(of) => simpler_aggregates(&of.node, set)
            .into_iter()
            .map(|aggregate| bare(ExprKind::Percentile(Box::new(bare(aggregate)))))
            .collect(),
        ExprKind::Literal(_) | ExprKind::Now | ExprKind::Field(_) | ExprKind::Bucket(_) => vec![],
    }
}

fn with_itself(part: &Expr, mut exprs: Vec<Expr>) -> Vec<Expr> {
    exprs.insert(0, part.clone());
    exprs
}

fn simpler_aggregates(of: &Aggregate, set: &Set) -> Vec<Aggregate> {
    let mut simpler = vec![];
    if of.window != Window::Ever {
        simpler.push(Aggregate { window: Window::Ever, ..of.clone() });
    }
    if let Window::SinceAnchor(anchor) = &of.window
        && anchor.filter.is_some()
    {
        let anchor = segue::definition::ast::Anchor { filter: None, ..(**anchor).clone() };
        simpler.push(Aggregate { window: Window::SinceAnchor(Box::new(anchor)), ..of.clone() });
    }
    let overs: Vec<Operand> = match &of.over {
        Operand::Pattern(pattern) => simpler_patterns(pattern, set).into_iter().map(Operand::Pattern).collect(),
        Operand::Values { source, path, filter } => simpler_filters(filter.as_deref(), set)
            .into_iter()
            .map(|filter| Operand::Values { source: source.clone(), path: path.clone(), filter })
            .collect(),
    };
    simpler.extend(overs.into_iter().map(|over| Aggregate { over, ..of.clone() }));
    simpler
}

fn simpler_filters(filter: Option<&Expr>, set: &Set) -> Vec<Option<Box<Expr>>> {
    let Some(filter) = filter else { return vec![] };
    let mut filters = vec![None];
    filters.extend(simpler(filter, set).into_iter().map(|filter| Some(Box::new(filter))));
    filters
}

fn simpler_steps(step: &Step, set: &Set) -> Vec<Step> {
    match step {
        Step::Events { source, filter } => simpler_filters(filter.as_deref(), set)
            .into_iter()
            .map(|filter| Step::Events { source: source.clone(), filter })
            .collect(),
        Step::Pattern(pattern) => simpler_patterns(pattern, set)
            .into_iter()
            .map(|pattern| match pattern.kind {
                PatternKind::Step(step) => *step,
                _ => Step::Pattern(Box::new(pattern)),
            })
            .collect(),
    }
}

fn simpler_patterns(pattern: &Pattern, set: &Set) -> Vec<Pattern> {
    let bare = |kind| Pattern { kind, span: Span::default() };
    let (relation, wrap): (&Relation, fn(Box<Relation>) -> PatternKind) = match &pattern.kind {
        PatternKind::Step(step) => {
            return simpler_steps(step, set).into_iter().map(|step| bare(PatternKind::Step(Box::new(step)))).collect();
        }
        PatternKind::Then(relation) => (relation, PatternKind::Then),
        PatternKind::Without(relation) => (relation, PatternKind::Without),
        PatternKind::After(relation) => (relation, PatternKind::After),
    };
    let mut patterns: Vec<Pattern> = [&relation.first, &relation.second]
        .map(|step| match step {
            Step::Pattern(pattern) => (**pattern).clone(),
            step @ Step::Events { .. } => bare(PatternKind::Step(Box::new(step.clone()))),
        })
        .to_vec();
    let mut put = |relation: Relation| patterns.push(bare(wrap(Box::new(relation))));
    if relation.on.is_some() {
        put(Relation { on: None, ..relation.clone() });
    }
    for first in simpler_steps(&relation.first, set) {
        put(Relation { first, ..relation.clone() });
    }
    for second in simpler_steps(&relation.second, set) {
        put(Relation { second, ..relation.clone() });
    }
    patterns
}
