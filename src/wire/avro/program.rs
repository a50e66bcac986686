//! A compiled decoder: blocks of steps that read or skip, in the order in which the bytes come.

use serde_json::Value as Json;

use super::super::wanted::{Goal, Place};
use super::leaf::Leaf;

/// A position in [`Program::blocks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockId(pub(super) usize);

/// Blocks of steps; execution starts at `main` and ends at its end.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) blocks: Vec<Vec<Step>>,
    pub(super) main: BlockId,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An int, a long, an enum.
    SkipInteger,
    /// Bytes or a string.
    SkipBytes,
    /// So many bytes.
    SkipFixed(usize),
    /// Items of this block, each at least `min_size` bytes.
    SkipArray { items: BlockId, min_size: usize },
    /// The same with a key before each.
    SkipMap { values: BlockId, min_size: usize },
    /// A branch by its number; `None` is one that cannot be resolved. Most are short, and many say nothing.
    Union(Box<[Option<Vec<Step>>]>),
    /// A record that is used in several places, or within itself.
    Call(BlockId),
    /// A value, and where it goes.
    Read(Leaf, Box<[Goal]>),
    /// A text of the envelope, which goes nowhere else.
    ReadEnvelope(Place),
    /// An array of which something is wanted; its lists are known from here on.
    Array { items: BlockId, min_size: usize, opens: Box<[usize]> },
    /// The traits of a profile.
    Traits { values: BlockId, min_size: usize },
    /// An element of each of these arrays.
    BeginElements(Box<[usize]>),
    /// The end of what `BeginElements` began.
    EndElements(Box<[usize]>),
    /// A field that the writer did not know, as its default says.
    Default(Box<(super::super::json::Node, Json)>),
}
