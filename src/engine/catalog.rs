//! The compiled definitions: one graph of shared nodes, the aggregates and patterns that feed it, and which events feed
//! those. Built once by `definition`, then only read.

use std::sync::Arc;

use hashbrown::HashMap;

use super::projection::Projection;
use super::value::{Type, Value};

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u32);

        impl $name {
            /// As a position in the catalog's list.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

index!(/// A position in [`Catalog::event_types`].
    EventTypeId);
index!(/// A position in [`Catalog::nodes`].
    NodeId);
index!(/// A position in [`Catalog::aggregates`].
    AggregateId);
index!(/// A position in [`Catalog::patterns`].
    PatternId);
index!(/// A position in [`Catalog::filters`].
    FilterId);
index!(/// A position in [`Catalog::segments`].
    SegmentId);
index!(/// A position in [`Catalog::profile_traits`].
    ProfileTraitId);
index!(/// A position in [`Catalog::purposes`].
    PurposeId);
index!(/// A position in [`Catalog::holds`].
    HoldId);
index!(/// A position in [`Catalog::percentiles`].
    PercentileId);

/// A position in a projection's list of fields.
pub type Slot = usize;

/// All that is known about a set of definitions at run time.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The time zone of calendar windows, ages and bare dates.
    pub time_zone: TimeZone,
    /// Every known event type, fed or not.
    pub event_types: Vec<EventType>,
    /// Event type by name.
    pub event_type_ids: HashMap<String, EventTypeId>,
    /// The expression graph: a node's operands come before it.
    pub nodes: Vec<Node>,
    /// Aggregates, each named once whoever uses it. An anchor comes before what is `since` it.
    pub aggregates: Vec<Aggregate>,
    /// Two-step patterns; an inner pattern comes before the one it is a step of.
    pub patterns: Vec<Pattern>,
    /// Conditions on one event.
    pub filters: Vec<Filter>,
    /// Declared profile traits.
    pub profile_traits: Vec<ProfileTrait>,
    /// Profile trait by name.
    pub profile_trait_ids: HashMap<String, ProfileTraitId>,
    /// Computed traits.
    pub traits: Vec<ComputedTrait>,
    /// Purposes that segments name.
    pub purposes: Vec<Purpose>,
    /// `P for D` conditions, whose start must be remembered.
    pub holds: Vec<Hold>,
    /// Aggregates whose distribution over customers is needed.
    pub percentiles: Vec<Percentile>,
    /// Segments and tiers; one that another asks about with `segment()` comes before it.
    pub segments: Vec<Segment>,
    /// Segment or tier by name.
    pub segment_ids: HashMap<String, SegmentId>,
    /// Groups of tiers.
    pub groups: Vec<Group>,
    /// A hash of all canonical definitions.
    pub hash: u64,
}

/// A time zone with a default, UTC.
#[derive(Debug, Clone)]
pub struct TimeZone(pub jiff::tz::TimeZone);

impl Default for TimeZone {
    fn default() -> Self {
        Self(jiff::tz::TimeZone::UTC)
    }
}

/// An event type and what its events feed.
#[derive(Debug, Clone, Default)]
pub struct EventType {
    /// Its name.
    pub name: String,
    /// What decoders extract.
    pub projection: Projection,
    /// What an event of it feeds.
    pub feeds: Vec<Feed>,
}

/// One use of an event type: which of its events (or elements) go where.
#[derive(Debug, Clone)]
pub struct Feed {
    /// The whole record, or each element of this array of the projection.
    pub array: Option<usize>,
    /// Only those for which this holds.
    pub filter: Option<FilterId>,
    /// Where they go.
    pub target: Target,
}

/// Where a matching event or match goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into an aggregate; `slot` is the value's, `None` for a bare count or instant.
    Aggregate {
        /// Which.
        aggregate: AggregateId,
        /// The value, in the record's or the element's fields.
        slot: Option<Slot>,
    },
    /// As a step of a pattern.
    Step {
        /// Which.
        pattern: PatternId,
        /// Which of its steps.
        side: Side,
        /// Slots of the values its matches are paired by (see [`Pattern`]), in the record's or the element's fields.
        keys: Vec<Slot>,
    },
}

/// The two steps of a pattern by their part in it, not by the order they are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The A of `segments.md` section 4.
    A,
    /// The B.
    B,
}

/// A condition on one event, over its projected fields.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Its canonical text.
    pub text: String,
    /// What must hold.
    pub condition: FieldExpr,
}

/// An expression over one event's fields; the leaves differ from [`Op`]'s, the meaning of the rest is the same.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldExpr {
    /// A field's value.
    Field(Slot),
    /// A literal.
    Constant(Value),
    /// The first known of these.
    Coalesce(Vec<FieldExpr>),
    /// See [`Op::Negate`].
    Negate(Box<FieldExpr>),
    /// See [`Op::Arithmetic`].
    Arithmetic(ArithmeticOp, Box<FieldExpr>, Box<FieldExpr>),
    /// See [`Op::Compare`].
    Compare(CompareOp, Box<FieldExpr>, Box<FieldExpr>),
    /// Negated; value, low, high.
    Between(bool, Box<FieldExpr>, Box<FieldExpr>, Box<FieldExpr>),
    /// Negated; value, items.
    In(bool, Box<FieldExpr>, Vec<Value>),
    /// Negated; left, right.
    TextTest(bool, TextTest, Box<FieldExpr>, Box<FieldExpr>),
    /// Negated; operand.
    IsKnown(bool, Box<FieldExpr>),
    /// See [`Op::Not`].
    Not(Box<FieldExpr>),
    /// See [`Op::And`].
    And(Vec<FieldExpr>),
    /// See [`Op::Or`].
    Or(Vec<FieldExpr>),
}

/// A node of the expression graph.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// The type of its value.
    pub value_type: Type,
    /// Its canonical text: the name under which it is shared, and what explanations show.
    pub text: Arc<str>,
}

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A literal.
    Constant(Value),
    /// The instant of evaluation.
    Now,
    /// A profile trait.
    ProfileTrait(ProfileTraitId),
    /// An aggregate's value in its window.
    Aggregate(AggregateId),
    /// The first known of these.
    Coalesce(Vec<NodeId>),
    /// `-a`.
    Negate(NodeId),
    /// Arithmetic; unknown when a side is, or when it has no answer.
    Arithmetic(ArithmeticOp, NodeId, NodeId),
    /// Whole years between an instant and now.
    Age(NodeId),
    /// Duration until the next yearly return of a date.
    Anniversary(NodeId),
    /// A fixed number in `0 <= x < 1` per customer and salt.
    Bucket(Arc<str>),
    /// The share of customers with a lower value, 0 to 100.
    Percentile(PercentileId),
    /// A comparison; false when a side is unknown.
    Compare(CompareOp, NodeId, NodeId),
    /// `value [not] between low and high`.
    Between {
        /// `not between`.
        negated: bool,
        /// Compared.
        value: NodeId,
        /// Lower end, included.
        low: NodeId,
        /// Upper end, included.
        high: NodeId,
    },
    /// `value [not] in (items)`.
    In {
        /// `not in`.
        negated: bool,
        /// Looked for.
        value: NodeId,
        /// Literals of its type.
        items: Vec<Value>,
    },
    /// `left [not] contains|starts with|ends with right`.
    TextTest {
        /// The `not` form.
        negated: bool,
        /// Which.
        test: TextTest,
        /// Searched.
        left: NodeId,
        /// Looked for.
        right: NodeId,
    },
    /// `operand is [not] known`.
    IsKnown {
        /// `is not known`.
        negated: bool,
        /// Asked about.
        operand: NodeId,
    },
    /// True unless the operand is true.
    Not(NodeId),
    /// All true.
    And(Vec<NodeId>),
    /// One true.
    Or(Vec<NodeId>),
    /// Membership of another segment.
    Segment(SegmentId),
    /// Whether the customer consented to a purpose.
    Consent(PurposeId),
    /// `P for D`.
    Held(HoldId),
}

impl Op {
    /// The nodes this one is computed from, but for the condition of a `P for D`.
    pub fn operands(&self) -> impl Iterator<Item = NodeId> {
        let (few, many): ([Option<NodeId>; 3], &[NodeId]) = match self {
            Self::Compare(_, left, right) | Self::TextTest { left, right, .. } | Self::Arithmetic(_, left, right) => {
                ([Some(*left), Some(*right), None], &[])
            }
            Self::Between { value, low, high, .. } => ([Some(*value), Some(*low), Some(*high)], &[]),
            Self::In { value: operand, .. }
            | Self::IsKnown { operand, .. }
            | Self::Negate(operand)
            | Self::Not(operand)
            | Self::Age(operand)
            | Self::Anniversary(operand) => ([Some(*operand), None, None], &[]),
            Self::And(operands) | Self::Or(operands) | Self::Coalesce(operands) => ([None; 3], operands),
            _ => ([None; 3], &[]),
        };
        few.into_iter().flatten().chain(many.iter().copied())
    }
}

/// A condition that must have held without a break.
#[derive(Debug, Clone)]
pub struct Hold {
    /// The stable name of its state: a hash of its canonical text.
    pub key: u64,
    /// P.
    pub condition: NodeId,
    /// D, milliseconds.
    pub duration_ms: i64,
}

/// An aggregate whose rank among customers is asked for.
#[derive(Debug, Clone)]
pub struct Percentile {
    /// A stable name: a hash of its canonical text.
    pub key: u64,
    /// The aggregate.
    pub aggregate: AggregateId,
}

/// An aggregate: state kept per customer and a function over it.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The stable name of its state: a hash of its canonical text, so that other definitions never invalidate it. Those
    /// that only differ in the length of a sliding window may share one.
    pub key: u64,
    /// The function.
    pub function: Function,
    /// Which part of history.
    pub window: Window,
    /// Its canonical text.
    pub text: Arc<str>,
    /// The type of its value.
    pub value_type: Type,
}

/// What an aggregate computes. `did` is `count >= 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// How many events or matches.
    Count,
    /// Total.
    Sum,
    /// Mean.
    Average,
    /// Least.
    Least,
    /// Greatest.
    Greatest,
    /// The earliest event's value, or its instant where no value is named.
    First,
    /// The latest event's.
    Last,
    /// Number of different values.
    Distinct,
    /// Most frequent value, the most recently seen winning a tie.
    Top,
    /// Different values, the most recently seen first.
    List,
}

/// Which events count, seen from `now`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// All.
    Ever,
    /// `now - duration_ms < t <= now`.
    Over {
        /// D.
        duration_ms: i64,
    },
    /// `t >= instant`.
    Since {
        /// The instant.
        instant: i64,
    },
    /// `t >=` the value of an aggregate over the same customer; nothing while that is unknown.
    SinceAnchor {
        /// A `First` or `Last` without a value, over `Ever`.
        anchor: AggregateId,
    },
    /// From the start of the current calendar period.
    This(CalendarUnit),
}

/// A two-step pattern. Steps arrive by [`Target::Step`] (events, or matches of an inner pattern); its matches go to
/// `targets`.
///
/// Each occurrence of a step carries key values, as many as its `keys` in [`Target::Step`] say. Where the pattern has
/// an `on`, the first key of each side is what must be equal. The side that gives a match its fields (B of `Then` and
/// `After`, A of `Without`) carries further keys for the patterns around this one: a match's keys are its base
/// occurrence's keys without the first where there is an `on`, all of them otherwise.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// The stable name of its state: a hash of its canonical text (and of the keys it carries).
    pub key: u64,
    /// Which relation.
    pub relation: Relation,
    /// D, milliseconds.
    pub duration_ms: i64,
    /// Whether the first keys must be equal.
    pub on: bool,
    /// Where matches go. `slot` of an aggregate is `None`; `keys` of a step are unused (they come from the base).
    pub targets: Vec<Target>,
}

/// How the steps of a pattern relate; a match's instant in `segments.md` section 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// Each B that has another A less than D before it. Written `A then B within D`.
    Then,
    /// Each A without another B less than D after it. Written `A without B within D`.
    Without,
    /// Each B without another A less than D before it. Written `B after D without A`.
    After,
}

/// A declared profile trait.
#[derive(Debug, Clone)]
pub struct ProfileTrait {
    /// Its name.
    pub name: String,
    /// What a value must be to count.
    pub value_type: Type,
    /// The stable name of its state: [`key`] of its name.
    pub key: u64,
}

/// A purpose customers consent to.
#[derive(Debug, Clone)]
pub struct Purpose {
    /// Its name.
    pub name: String,
    /// The stable name of its state: [`key`] of its name.
    pub key: u64,
}

/// The stable name under which the state of something with this canonical text is stored.
#[must_use]
pub fn key(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

/// A computed trait: a named node.
#[derive(Debug, Clone)]
pub struct ComputedTrait {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// Its value.
    pub node: NodeId,
}

/// A segment, or a tier of a group.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its name; `GROUP.TIER` for a tier.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// The condition as written, in canonical form.
    pub when_text: String,
    /// The same of `until`.
    pub until_text: Option<String>,
    /// Who is a member: `when`, and consent to its purpose, and for a tier none of the earlier tiers' conditions.
    pub when: NodeId,
    /// `until`, as written: its own flips count, whoever has consented.
    pub until: Option<NodeId>,
    /// With `until`: what ends a membership that `when` began, withdrawal of consent included.
    pub ending: Option<NodeId>,
    /// The purpose members consented to.
    pub purpose: Option<PurposeId>,
    /// Traits sent along with each change: name and value.
    pub carry: Vec<(String, NodeId)>,
    /// The group, for a tier.
    pub group: Option<String>,
    /// Hash of the canonical definition: eight hexadecimal digits.
    pub definition: String,
    /// The stable name of its memberships: [`key`] of its name.
    pub key: u64,
}

/// A group of exclusive tiers, first match first.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// Its tiers.
    pub tiers: Vec<SegmentId>,
}

/// `=`, `!=`, `<`, `<=`, `>`, `>=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// `contains`, `starts with`, `ends with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// A substring of a text, an element of a list.
    Contains,
    /// A prefix.
    StartsWith,
    /// A suffix.
    EndsWith,
}

/// `+`, `-`, `*`, `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArithmeticOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

/// A calendar period in the configured time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From midnight.
    Day,
    /// From Monday.
    Week,
    /// From the 1st.
    Month,
    /// From 1 January.
    Year,
}
