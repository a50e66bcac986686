//! A record being filled with decoded values: the one place where values, lists and elements find their slots, whatever
//! format they come from. Buffers are kept from record to record.

use std::sync::Arc;

use compact_str::CompactString;

use super::DecodeError;
use super::schema::RecordKind;
use super::wanted::{Goal, Layout, Place};
use crate::engine::catalog::EventTypeId;
use crate::engine::record::{Body, EventFields, Record};
use crate::engine::value::Value;

/// Enough for any honest record; one huge record should not hold on to its memory.
const MAX_SPARE_ELEMENTS: usize = 1024;

/// What is kept between records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffers {
    lists: Vec<List>,
    spare_elements: Vec<Vec<Value>>,
}

#[derive(Debug, Clone, Default)]
struct List {
    open: bool,
    values: Vec<Value>,
}

/// One record under construction.
pub(crate) struct Filling<'a> {
    layout: &'a Layout,
    buffers: &'a mut Buffers,
    record: &'a mut Record,
    occurred_at: Option<i64>,
    purpose: Option<CompactString>,
    granted: Option<bool>,
}

impl<'a> Filling<'a> {
    /// Empties a record, whatever it was before.
    pub(crate) fn begin(
        layout: &'a Layout,
        event_type: EventTypeId,
        buffers: &'a mut Buffers,
        record: &'a mut Record,
    ) -> Self {
        buffers.lists.resize_with(layout.lists.len(), List::default);
        for list in &mut buffers.lists {
            list.open = false;
            list.values.clear();
        }
        record.envelope.event_id.clear();
        record.envelope.customer_id.clear();
        match (layout.kind, &mut record.body) {
            (RecordKind::Event, Body::Event(fields)) => empty(fields, &mut buffers.spare_elements),
            (RecordKind::Profile, Body::Profile(traits)) => traits.clear(),
            (RecordKind::Event, body) => *body = Body::Event(EventFields::default()),
            (RecordKind::Profile, body) => *body = Body::Profile(Vec::new()),
            (RecordKind::Consent | RecordKind::Erasure, body) => *body = Body::Erasure,
        }
        if let Body::Event(fields) = &mut record.body {
            fields.event_type = event_type;
            fields.fields.resize(layout.field_count, Value::Unknown);
            fields.elements.resize_with(layout.arrays.len(), Vec::new);
        }
        Self { layout, buffers, record, occurred_at: None, purpose: None, granted: None }
    }

    /// Puts a value where it goes. One that does not fit (`None`) leaves a trait unknown; an event cannot do without.
    pub(crate) fn put(&mut self, goals: &[Goal], value: Option<Value>) -> Result<(), DecodeError> {
        let Some(value) = value else {
            let spared = |goal: &Goal| matches!(goal.place, Place::Trait | Place::OccurredAt);
            return if goals.iter().any(spared) { Ok(()) } else { Err(DecodeError::DoesNotFit) };
        };
        if let Some((last, others)) = goals.split_last() {
            for goal in others {
                self.put_one(*goal, value.clone());
            }
            self.put_one(*last, value);
        }
        Ok(())
    }

    /// Puts a text of the envelope where it goes, into the memory of the one before.
    pub(crate) fn put_envelope(&mut self, place: Place, text: &str) {
        let slot = match place {
            Place::EventId => &mut self.record.envelope.event_id,
            Place::CustomerId => &mut self.record.envelope.customer_id,
            _ => return,
        };
        slot.clear();
        slot.push_str(text);
    }

    fn put_one(&mut self, goal: Goal, value: Value) {
        match goal.list {
            Some(list) => {
                if let Some(list) = self.buffers.lists.get_mut(list) {
                    list.values.push(value);
                }
            }
            None => self.store(goal.place, value),
        }
    }

    fn store(&mut self, place: Place, value: Value) {
        let envelope = &mut self.record.envelope;
        match (place, value) {
            (Place::EventId, Value::Text(text)) => envelope.event_id = text,
            (Place::CustomerId, Value::Text(text)) => envelope.customer_id = text,
            (Place::OccurredAt, Value::Instant(at)) => self.occurred_at = Some(at),
            (Place::Purpose, Value::Text(text)) => self.purpose = Some(text),
            (Place::Granted, Value::Bool(granted)) => self.granted = Some(granted),
            (Place::Trait, value) => {
                if let Body::Profile(traits) = &mut self.record.body
                    && let Some((_, slot)) = traits.last_mut()
                {
                    *slot = value;
                }
            }
            (Place::Field(slot), value) => {
                if let Body::Event(fields) = &mut self.record.body
                    && let Some(slot) = fields.fields.get_mut(slot)
                {
                    *slot = value;
                }
            }
            (Place::Element { array, field }, value) => {
                if let Body::Event(fields) = &mut self.record.body
                    && let Some(element) = fields.elements.get_mut(array).and_then(|elements| elements.last_mut())
                    && let Some(slot) = element.get_mut(field)
                {
                    *slot = value;
                }
            }
            (Place::EventId | Place::CustomerId | Place::OccurredAt | Place::Purpose | Place::Granted, _) => {}
        }
    }

    /// An array that these lists are taken from is there.
    pub(crate) fn open(&mut self, lists: &[usize]) {
        for list in lists {
            if let Some(list) = self.buffers.lists.get_mut(*list) {
                list.open = true;
            }
        }
    }

    fn close(&mut self, closes: impl Fn(Place) -> bool) {
        for (index, place) in self.layout.lists.iter().enumerate() {
            if !closes(*place) {
                continue;
            }
            if let Some(list) = self.buffers.lists.get_mut(index)
                && list.open
            {
                list.open = false;
                let values: Arc<[Value]> = list.values.drain(..).collect();
                self.store(*place, Value::List(values));
            }
        }
    }

    /// An element of an array starts here.
    pub(crate) fn begin_element(&mut self, array: usize) {
        let mut element = self.buffers.spare_elements.pop().unwrap_or_default();
        element.resize(self.layout.arrays.get(array).copied().unwrap_or(0), Value::Unknown);
        if let Body::Event(fields) = &mut self.record.body
            && let Some(elements) = fields.elements.get_mut(array)
        {
            elements.push(element);
        }
    }

    /// The element is complete.
    pub(crate) fn end_element(&mut self, ended: usize) {
        self.close(|place| matches!(place, Place::Element { array, .. } if array == ended));
    }

    /// A trait of this name follows.
    pub(crate) fn begin_trait(&mut self, name: &str) {
        if let Body::Profile(traits) = &mut self.record.body {
            traits.push((CompactString::new(name), Value::Unknown));
        }
    }

    /// The trait is complete.
    pub(crate) fn end_trait(&mut self) {
        self.close(|place| place == Place::Trait);
    }

    /// The record is complete: it must say whom, which and when.
    pub(crate) fn finish(mut self) -> Result<(), DecodeError> {
        self.close(|place| matches!(place, Place::Field(_)));
        if self.layout.kind == RecordKind::Consent {
            let (Some(purpose), Some(granted)) = (self.purpose.take(), self.granted) else {
                return Err(DecodeError::Missing);
            };
            self.record.body = Body::Consent { purpose, granted };
        }
        if self.record.envelope.customer_id.is_empty() {
            return Err(DecodeError::NoCustomerId);
        }
        if self.record.envelope.event_id.is_empty() {
            return Err(DecodeError::NoEventId);
        }
        self.record.envelope.occurred_at = self.occurred_at.ok_or(DecodeError::BadTime)?;
        self.inherit();
        Ok(())
    }

    /// Elements have the envelope of their record.
    fn inherit(&mut self) {
        let Record { envelope, body: Body::Event(event) } = &mut *self.record else { return };
        for (array, field, place) in &self.layout.inherited {
            let value = match place {
                Place::EventId => Value::Text(envelope.event_id.clone()),
                Place::CustomerId => Value::Text(envelope.customer_id.clone()),
                _ => Value::Instant(envelope.occurred_at),
            };
            let slots =
                event.elements.get_mut(*array).into_iter().flatten().filter_map(|element| element.get_mut(*field));
            slots.filter(|slot| !slot.is_known()).for_each(|slot| slot.clone_from(&value));
        }
    }
}

fn empty(fields: &mut EventFields, spare_elements: &mut Vec<Vec<Value>>) {
    fields.fields.clear();
    for mut element in fields.elements.iter_mut().flat_map(|elements| elements.drain(..)) {
        element.clear();
        if spare_elements.len() < MAX_SPARE_ELEMENTS {
            spare_elements.push(element);
        }
    }
}
