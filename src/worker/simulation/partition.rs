//! One partition of a topic: records at their offsets, and what became of the transactions they are of.

use std::collections::{BTreeMap, HashSet};

/// A record as it is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What is at an offset.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) record: Sent,
    pub(super) timestamp_ms: i64,
    pub(super) state: SlotState,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotState {
    /// To be seen.
    Committed,
    /// Of a transaction under way.
    Open(String),
    /// Of one that was aborted.
    Aborted,
    /// The mark that ends a transaction.
    Mark,
    /// Compacted away.
    Gone,
}

/// One partition of a topic.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) slots: Vec<Slot>,
    /// What lies before it was removed. It is kept here, to compare with.
    pub(super) low: i64,
    /// What was lost from the end, and where that began.
    lost: Option<(usize, Vec<Slot>)>,
    /// First offsets of transactions under way.
    open: BTreeMap<String, usize>,
}

impl Partition {
    pub(super) fn high(&self) -> i64 {
        i64::try_from(self.slots.len()).unwrap()
    }

    /// The last stable offset: what lies before it is decided.
    pub(super) fn stable(&self) -> i64 {
        self.open.values().min().map_or(self.high(), |first| i64::try_from(*first).unwrap())
    }

    pub(super) fn append(&mut self, record: Sent, timestamp_ms: i64, state: SlotState) -> i64 {
        if let SlotState::Open(name) = &state {
            self.open.entry(name.clone()).or_insert(self.slots.len());
        }
        self.slots.push(Slot { record, timestamp_ms, state });
        self.high() - 1
    }

    pub(super) fn mark(&mut self, name: &str, commit: bool, now: i64) {
        let Some(first) = self.open.remove(name) else { return };
        for slot in &mut self.slots[first..] {
            if slot.state == SlotState::Open(name.to_owned()) {
                slot.state = if commit { SlotState::Committed } else { SlotState::Aborted };
            }
        }
        self.append(Sent::default(), now, SlotState::Mark);
    }

    /// Loses what lies at an offset and behind it.
    pub(super) fn lose_from(&mut self, end: i64) {
        let end = usize::try_from(end).unwrap();
        self.lost = Some((end, self.slots.split_off(end)));
    }

    /// Whether it has lost its end.
    pub(super) fn has_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Is as it was before that.
    pub(super) fn put_back(&mut self) {
        if let Some((end, lost)) = self.lost.take() {
            self.slots.truncate(end);
            self.slots.extend(lost);
        }
    }

    /// Records that readers of committed records see.
    pub(super) fn committed(&self) -> impl Iterator<Item = (i64, &Slot)> {
        let stable = usize::try_from(self.stable()).unwrap();
        (0..).zip(&self.slots[..stable]).filter(|(_, slot)| slot.state == SlotState::Committed)
    }

    /// Takes away what a later record of the same key has replaced, and removals from before an instant; whether there
    /// were any of these.
    pub(super) fn compact(&mut self, aged: i64) -> bool {
        let stable = usize::try_from(self.stable()).unwrap();
        let (mut later, mut forgets) = (HashSet::new(), false);
        for slot in self.slots[..stable].iter_mut().rev() {
            let is_replaced =
                slot.state == SlotState::Committed && !later.insert(slot.record.key.clone().unwrap_or_default());
            let is_removal = slot.state == SlotState::Committed && slot.record.value.is_none();
            let is_aged = is_removal && slot.timestamp_ms < aged;
            forgets |= is_aged;
            if is_replaced || is_aged || slot.state == SlotState::Aborted {
                (slot.state, slot.record) = (SlotState::Gone, Sent::default());
            }
        }
        forgets
    }
}
