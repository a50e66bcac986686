//! What a set of definition files says, as it is written: the same lists, every name with its place, expressions parsed
//! but not yet understood.

use crate::engine::value::Type;

use super::ast::Expr;
use super::source::{ExpressionText, Place, Text};
use super::test_case::TestSpec;

/// All files of a set together.
#[derive(Debug, Default)]
pub(super) struct Spec {
    pub(super) profile: Vec<ProfileSpec>,
    pub(super) traits: Vec<TraitSpec>,
    pub(super) segments: Vec<SegmentSpec>,
    pub(super) groups: Vec<GroupSpec>,
    pub(super) tests: Vec<TestSpec>,
}

/// A declared profile trait.
#[derive(Debug)]
pub(super) struct ProfileSpec {
    /// Empty when it is missing, which has been reported; so for every name below.
    pub(super) name: Text,
    /// `None` when it is wrong, which has been reported.
    pub(super) value_type: Option<Type>,
}

/// A computed trait.
#[derive(Debug)]
pub(super) struct TraitSpec {
    pub(super) name: Text,
    pub(super) description: String,
    /// `None` when it is missing or cannot be parsed, which has been reported; so for every expression below.
    pub(super) value: Option<Expression>,
}

/// A segment.
#[derive(Debug)]
pub(super) struct SegmentSpec {
    pub(super) name: Text,
    pub(super) description: String,
    pub(super) when: Option<Expression>,
    pub(super) until: Option<Expression>,
    pub(super) purpose: Option<Text>,
    pub(super) carry: Vec<Text>,
}

/// A group of tiers.
#[derive(Debug)]
pub(super) struct GroupSpec {
    pub(super) name: Text,
    pub(super) description: String,
    pub(super) purpose: Option<Text>,
    pub(super) carry: Vec<Text>,
    pub(super) tiers: Vec<TierSpec>,
}

/// A tier of a group.
#[derive(Debug)]
pub(super) struct TierSpec {
    pub(super) name: Text,
    pub(super) description: String,
    pub(super) when: Option<Expression>,
}

/// An expression with its places.
#[derive(Debug)]
pub(super) struct Expression {
    /// Parsed.
    pub(super) expr: Expr,
    /// As written.
    pub(super) source: ExpressionText,
}

impl Expression {
    /// All of it.
    pub(super) fn place(&self) -> Place {
        self.source.place
    }
}
