//! What a decoder is to extract: a projection turned into a tree of field names that ends in places of the record.

use std::collections::BTreeMap;

use crate::engine::projection::{ProjectedField, Projection};

use super::schema::RecordKind;

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    EventId,
    CustomerId,
    OccurredAt,
    Purpose,
    Granted,
    /// The trait whose name was read last.
    Trait,
    /// A slot of the event.
    Field(usize),
    /// A slot of the element under construction of an array.
    Element {
        array: usize,
        field: usize,
    },
}

impl Place {
    /// Whether every record must have it.
    pub(crate) fn is_envelope(self) -> bool {
        self.is_text_of_envelope() || self == Self::OccurredAt
    }

    /// Whether it is a text that every record must have.
    pub(crate) fn is_text_of_envelope(self) -> bool {
        matches!(self, Self::EventId | Self::CustomerId)
    }
}

/// A place, and whether the value is one of a list there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) place: Place,
    /// The list under construction that it joins.
    pub(crate) list: Option<usize>,
}

/// What is wanted of a value and of what is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Want {
    /// Places, each with the list that is built for it when the path leads through an array.
    goals: Vec<(Place, usize)>,
    /// Arrays whose elements are events of their own.
    arrays: Vec<(usize, Want)>,
    children: BTreeMap<String, Want>,
}

/// How the record is laid out, and which lists are built for it.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) kind: RecordKind,
    pub(crate) field_count: usize,
    /// For each array, the number of its fields.
    pub(crate) arrays: Vec<usize>,
    /// The place of each list.
    pub(crate) lists: Vec<Place>,
    /// Fields that elements have from their record: array, field, and the place in the envelope.
    pub(crate) inherited: Vec<(usize, usize, Place)>,
}

/// What is wanted at one point of a schema, on the way down from the record or from an element.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    want: &'a Want,
    /// Whether an array was passed, so that values join a list.
    listed: bool,
    /// The array of which the next record is an element.
    pub(crate) begins: Option<usize>,
}

impl Want {
    /// What a record of this kind needs, with the places laid out.
    pub(crate) fn new(kind: RecordKind, projection: &Projection) -> (Self, Layout) {
        let mut layout = Layout { kind, field_count: 0, arrays: Vec::new(), lists: Vec::new(), inherited: Vec::new() };
        let mut root = Self::default();
        root.add(&["event_id".to_owned()], Place::EventId, &mut layout);
        root.add(&["customer_id".to_owned()], Place::CustomerId, &mut layout);
        root.add(&["occurred_at".to_owned()], Place::OccurredAt, &mut layout);
        match kind {
            RecordKind::Event => root.add_projection(projection, &mut layout),
            RecordKind::Profile => root.add(&["traits".to_owned()], Place::Trait, &mut layout),
            RecordKind::Consent => {
                root.add(&["purpose".to_owned()], Place::Purpose, &mut layout);
                root.add(&["granted".to_owned()], Place::Granted, &mut layout);
            }
            RecordKind::Erasure => {}
        }
        (root, layout)
    }

    fn add_projection(&mut self, projection: &Projection, layout: &mut Layout) {
        layout.field_count = projection.fields.len();
        for (slot, ProjectedField { path, .. }) in projection.fields.iter().enumerate() {
            self.add(path, Place::Field(slot), layout);
        }
        for (array, projected) in projection.arrays.iter().enumerate() {
            layout.arrays.push(projected.fields.len());
            let mut element = Self::default();
            for (field, ProjectedField { path, .. }) in projected.fields.iter().enumerate() {
                element.add(path, Place::Element { array, field }, layout);
                if let Some(place) = in_envelope(path) {
                    layout.inherited.push((array, field, place));
                }
            }
            self.at(&projected.path).arrays.push((array, element));
        }
    }

    fn add(&mut self, path: &[String], place: Place, layout: &mut Layout) {
        self.at(path).goals.push((place, layout.lists.len()));
        layout.lists.push(place);
    }

    fn at(&mut self, path: &[String]) -> &mut Self {
        path.iter().fold(self, |want, name| want.children.entry(name.clone()).or_default())
    }

    fn lists_within(&self, lists: &mut Vec<usize>) {
        lists.extend(self.goals.iter().map(|(_, list)| *list));
        self.children.values().for_each(|child| child.lists_within(lists));
    }
}

/// The place of a path that is the name of a field of the envelope.
fn in_envelope(path: &[String]) -> Option<Place> {
    match path {
        [name] if name == "event_id" => Some(Place::EventId),
        [name] if name == "customer_id" => Some(Place::CustomerId),
        [name] if name == "occurred_at" => Some(Place::OccurredAt),
        _ => None,
    }
}

impl<'a> View<'a> {
    /// The whole record.
    pub(crate) fn of(want: &'a Want) -> Self {
        Self { want, listed: false, begins: None }
    }

    /// What is wanted of a field of this record.
    pub(crate) fn field(&self, name: &str) -> Option<Self> {
        let want = self.want.children.get(name)?;
        Some(Self { want, listed: self.listed, begins: None })
    }

    /// What is wanted of the items of this array. Elements begin at the innermost of arrays in arrays.
    pub(crate) fn items(&self, innermost: bool, items: &mut Vec<Self>) {
        items.push(Self { want: self.want, listed: true, begins: self.begins });
        if innermost {
            let elements = self.want.arrays.iter();
            items.extend(elements.map(|(array, want)| Self { want, listed: false, begins: Some(*array) }));
        }
    }

    /// The lists that are known, even if empty, because this array is there.
    pub(crate) fn opens(&self, lists: &mut Vec<usize>) {
        if !self.listed {
            self.want.lists_within(lists);
        }
    }

    /// Where this value goes.
    pub(crate) fn goals(&self) -> impl Iterator<Item = Goal> + '_ {
        self.want.goals.iter().map(|(place, list)| Goal { place: *place, list: self.listed.then_some(*list) })
    }

    /// Whether the values of this map are traits.
    pub(crate) fn is_traits(&self) -> bool {
        self.want.goals.iter().any(|(place, _)| *place == Place::Trait)
    }
}
