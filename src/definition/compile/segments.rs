//! The catalog of a checked set: event types and traits, then segments, each with what membership of it comes to, and the
//! hash of what it means.

use std::fmt::Write;

use hashbrown::HashMap;
use jiff::tz;
use sha2::{Digest, Sha256};

use crate::engine::catalog::{
    Catalog, ComputedTrait, EventType, EventTypeId, Group, NodeId, Op, ProfileTrait, ProfileTraitId, Segment,
    SegmentId, TimeZone, key,
};
use crate::engine::value::Type;

use super::super::ast::{Expr, ExprKind, Name, Span, Spanned};
use super::super::source::{Place, Text};
use super::Written;
use super::graph::{Graph, Unbuildable, position};
use super::names::{Names, SegmentEntry, TraitEntry};
use super::references::{Item, Order, visit};

/// Builds the catalog; an error is the place of what should have been refused.
pub(super) fn build(
    names: &Names<'_>,
    order: &Order,
    written: &Written,
    time_zone: tz::TimeZone,
) -> Result<Catalog, Place> {
    let catalog = declarations(names, time_zone);
    let mut builder = Builder { graph: Graph::new(names, catalog), names, written, meanings: HashMap::new() };
    for item in &order.items {
        if let Item::Segment(position) = item {
            let Some(entry) = names.segments.get(*position) else { continue };
            builder.segment(*position, entry).map_err(|Unbuildable| entry.place)?;
        }
    }
    builder.traits()?;
    builder.carried()?;
    builder.groups();
    builder.hash();
    let Graph { catalog, segment_ids, .. } = builder.graph;
    Ok(Catalog { segment_ids, ..catalog })
}

fn declarations(names: &Names<'_>, time_zone: tz::TimeZone) -> Catalog {
    let mut catalog = Catalog { time_zone: TimeZone(time_zone), ..Catalog::default() };
    for name in names.schemas.events.keys() {
        let id = EventTypeId(position(catalog.event_types.len()));
        catalog.event_type_ids.insert(name.clone(), id);
        catalog.event_types.push(EventType { name: name.clone(), ..EventType::default() });
    }
    for entry in &names.spec.profile {
        let id = ProfileTraitId(position(catalog.profile_traits.len()));
        let name = entry.name.value.clone();
        let Some(value_type) = entry.value_type.clone() else { continue };
        catalog.profile_trait_ids.insert(name.clone(), id);
        catalog.profile_traits.push(ProfileTrait { key: key(&name), name, value_type });
    }
    catalog
}

struct Builder<'a> {
    graph: Graph<'a>,
    names: &'a Names<'a>,
    written: &'a Written,
    /// The canonical definition of each segment built, hashed, by name.
    meanings: HashMap<String, String>,
}

impl Builder<'_> {
    fn segment(&mut self, position_written: usize, entry: &SegmentEntry<'_>) -> Result<(), Unbuildable> {
        let (when, until) = self.written.segments.get(position_written).ok_or(Unbuildable)?;
        let when = when.as_ref().ok_or(Unbuildable)?;
        let purpose = entry.purpose.map(|purpose| self.graph.purpose(&purpose.value));
        let earlier = self.earlier(entry)?;
        let meaning = self.meaning(entry, when, until.as_ref(), &earlier);
        let consent = purpose.zip(entry.purpose).map(|(id, purpose)| self.consent(Op::Consent(id), purpose));
        let when_node = self.membership(when, consent, &earlier)?;
        let until_node = until.as_ref().map(|until| self.graph.node(until)).transpose()?;
        let ending = until_node.map(|until| self.ending(until, consent));
        let id = SegmentId(position(self.graph.catalog.segments.len()));
        self.graph.segment_ids.insert(entry.name.clone(), id);
        self.graph.catalog.segments.push(Segment {
            name: entry.name.clone(),
            description: entry.description.to_owned(),
            when_text: entry.when.map(|when| when.expr.to_string()).unwrap_or_default(),
            until_text: entry.until.map(|until| until.expr.to_string()),
            when: when_node,
            until: until_node,
            ending,
            purpose,
            carry: Vec::new(),
            group: entry.tier.as_ref().map(|tier| tier.group.name.value.clone()),
            definition: meaning.chars().take(8).collect(),
            key: key(&entry.name),
        });
        self.meanings.insert(entry.name.clone(), meaning);
        Ok(())
    }

    /// The conditions of the tiers before this one.
    fn earlier(&self, entry: &SegmentEntry<'_>) -> Result<Vec<Expr>, Unbuildable> {
        let positions = entry.tier.iter().flat_map(|tier| &tier.earlier);
        let conditions = positions.map(|position| self.written.segments.get(*position)?.0.clone());
        conditions.map(|condition| condition.ok_or(Unbuildable)).collect()
    }

    fn consent(&mut self, op: Op, purpose: &Text) -> NodeId {
        self.graph.push(op, Type::Bool, format!("consent({:?})", purpose.value).into())
    }

    /// `when`, and consent, and none of the earlier tiers.
    fn membership(&mut self, when: &Expr, consent: Option<NodeId>, earlier: &[Expr]) -> Result<NodeId, Unbuildable> {
        let mut conditions = vec![self.graph.node(when)?];
        conditions.extend(consent);
        for condition in earlier {
            let not = ExprKind::Not(Box::new(condition.clone()));
            conditions.push(self.graph.node(&Expr { node: not, span: condition.span })?);
        }
        Ok(self.joined(conditions, " and ", Op::And))
    }

    /// `until`, or withdrawal of consent.
    fn ending(&mut self, until: NodeId, consent: Option<NodeId>) -> NodeId {
        let mut endings = vec![until];
        if let Some(consent) = consent {
            let text = format!("not {}", self.text(consent));
            endings.push(self.graph.push(Op::Not(consent), Type::Bool, text.into()));
        }
        self.joined(endings, " or ", Op::Or)
    }

    /// One node of several conditions; of one, that one.
    fn joined(&mut self, conditions: Vec<NodeId>, word: &str, op: fn(Vec<NodeId>) -> Op) -> NodeId {
        if let [only] = conditions.as_slice() {
            return *only;
        }
        let texts: Vec<String> = conditions
            .iter()
            .map(|node| match self.graph.catalog.nodes.get(node.index()).map(|node| &node.op) {
                Some(Op::Or(_) | Op::And(_)) => format!("({})", self.text(*node)),
                _ => self.text(*node),
            })
            .collect();
        self.graph.push(op(conditions), Type::Bool, texts.join(word).into())
    }

    fn text(&self, node: NodeId) -> String {
        self.graph.catalog.nodes.get(node.index()).map(|node| node.text.to_string()).unwrap_or_default()
    }

    /// A hash of all that membership depends on: two definitions that mean the same have the same.
    fn meaning(&self, entry: &SegmentEntry<'_>, when: &Expr, until: Option<&Expr>, earlier: &[Expr]) -> String {
        let mut lines = vec![format!("segment {:?}", entry.name), format!("when {when}")];
        lines.extend(earlier.iter().map(|condition| format!("before {condition}")));
        lines.extend(until.map(|until| format!("until {until}")));
        lines.extend(entry.purpose.map(|purpose| format!("purpose {:?}", purpose.value)));
        let mut asked = Vec::new();
        for expr in earlier.iter().chain([when]).chain(until) {
            visit(expr, &mut |expr| {
                if let ExprKind::Segment(name) = &expr.node {
                    asked.push(name.node.clone());
                }
            });
        }
        asked.sort();
        asked.dedup();
        for name in asked {
            let meaning = self.meanings.get(&name).map_or("", String::as_str);
            lines.push(format!("segment {name:?} is {meaning}"));
        }
        sha256(&lines.join("\n"))
    }

    fn traits(&mut self) -> Result<(), Place> {
        for (position, entry) in self.names.spec.traits.iter().enumerate() {
            let value = self.written.traits.get(position).and_then(Option::as_ref).ok_or(entry.name.place)?;
            let node = self.graph.node(value).map_err(|Unbuildable| entry.name.place)?;
            let (name, description) = (entry.name.value.clone(), entry.description.clone());
            self.graph.catalog.traits.push(ComputedTrait { name, description, node });
        }
        Ok(())
    }

    /// What segments carry; a carried trait may ask about the very segment, so all segments come first.
    fn carried(&mut self) -> Result<(), Place> {
        for entry in &self.names.segments {
            let mut carry = Vec::with_capacity(entry.carry.len());
            for name in entry.carry {
                let node = self.trait_node(name).map_err(|Unbuildable| name.place)?;
                carry.push((name.value.clone(), node));
            }
            let id = self.graph.segment_ids.get(&entry.name).copied().ok_or(entry.place)?;
            if let Some(segment) = self.graph.catalog.segments.get_mut(id.index()) {
                segment.carry = carry;
            }
        }
        Ok(())
    }

    fn trait_node(&mut self, name: &Text) -> Result<NodeId, Unbuildable> {
        match self.names.traits.get(name.value.as_str()).ok_or(Unbuildable)? {
            TraitEntry::Computed(position, _) => {
                let value = self.written.traits.get(*position).and_then(Option::as_ref).ok_or(Unbuildable)?;
                self.graph.node(value)
            }
            TraitEntry::Profile(_) => {
                let name: Name = Spanned { node: name.value.clone(), span: Span::default() };
                self.graph.node(&Expr { node: ExprKind::Trait(name), span: Span::default() })
            }
        }
    }

    fn groups(&mut self) {
        for group in &self.names.spec.groups {
            let tiers = group.tiers.iter().filter_map(|tier| {
                let name = format!("{}.{}", group.name.value, tier.name.value);
                self.graph.segment_ids.get(&name).copied()
            });
            let tiers = tiers.collect();
            let (name, description) = (group.name.value.clone(), group.description.clone());
            self.graph.catalog.groups.push(Group { name, description, tiers });
        }
    }

    /// The hash of the whole set: another order of files is not another set.
    fn hash(&mut self) {
        let mut lines: Vec<String> = self.meanings.values().cloned().collect();
        let catalog = &self.graph.catalog;
        for computed in &catalog.traits {
            lines.push(format!("trait {} {}", computed.name, self.text(computed.node)));
        }
        for declared in &catalog.profile_traits {
            lines.push(format!("profile {} {}", declared.name, declared.value_type));
        }
        for segment in &catalog.segments {
            let names: Vec<&str> = segment.carry.iter().map(|(name, _)| name.as_str()).collect();
            lines.push(format!("carry {} {}", segment.name, names.join(" ")));
        }
        lines.sort();
        lines.push(format!("zone {}", catalog.time_zone.0.iana_name().unwrap_or("")));
        self.graph.catalog.hash = key(&lines.join("\n"));
    }
}

fn sha256(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().fold(String::new(), |mut hexadecimal, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hexadecimal, "{byte:02x}");
        hexadecimal
    })
}
