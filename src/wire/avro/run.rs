//! Runs a program over bytes. Nothing in the bytes can make it panic, loop long or allocate more than they pay for.

use super::super::DecodeError;
use super::super::fill::Filling;
use super::cursor::Cursor;
use super::program::{BlockId, Program, Step};

/// Records within records, counted where a type is used within itself.
const MAX_CALLS: usize = 64;
/// Items that take no bytes cost nothing to claim, so their number has a limit of its own.
const MAX_EMPTY_ITEMS: u64 = 1 << 16;

/// Reads one record, and says how many bytes it takes.
pub(super) fn run(program: &Program, bytes: &[u8], filling: &mut Filling<'_>) -> Result<usize, DecodeError> {
    let mut run = Run { program, cursor: Cursor::new(bytes), filling, calls: 0, empty_items: 0 };
    run.block(program.main)?;
    Ok(bytes.len() - run.cursor.left())
}

struct Run<'a, 'f> {
    program: &'a Program,
    cursor: Cursor<'a>,
    filling: &'a mut Filling<'f>,
    calls: usize,
    empty_items: u64,
}

impl Run<'_, '_> {
    fn block(&mut self, id: BlockId) -> Result<(), DecodeError> {
        let program = self.program;
        self.steps(program.blocks.get(id.0).map_or(&[], Vec::as_slice))
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), DecodeError> {
        for step in steps {
            match step {
                Step::SkipInteger => drop(self.cursor.long()?),
                Step::SkipBytes => drop(self.cursor.bytes()?),
                Step::SkipFixed(size) => drop(self.cursor.take(*size)?),
                Step::SkipArray { items, min_size } => self.items(*min_size, true, |run| run.block(*items))?,
                Step::SkipMap { values, min_size } => self.items(*min_size, true, |run| {
                    run.cursor.bytes()?;
                    run.block(*values)
                })?,
                Step::Union(branches) => {
                    let branch = usize::try_from(self.cursor.long()?).map_err(|_| DecodeError::BadBranch)?;
                    let branch = branches.get(branch).and_then(Option::as_ref).ok_or(DecodeError::BadBranch)?;
                    if !branch.is_empty() {
                        self.steps(branch)?;
                    }
                }
                Step::Call(block) => self.call(*block)?,
                Step::Read(leaf, goals) => {
                    let value = leaf.read(&mut self.cursor)?;
                    self.filling.put(goals, value)?;
                }
                Step::ReadEnvelope(place) => self.filling.put_envelope(*place, self.cursor.text()?),
                Step::Array { items, min_size, opens } => {
                    self.filling.open(opens);
                    self.items(*min_size, false, |run| run.block(*items))?;
                }
                Step::Traits { values, min_size } => self.items(*min_size, false, |run| run.named_trait(*values))?,
                Step::BeginElements(arrays) => arrays.iter().for_each(|array| self.filling.begin_element(*array)),
                Step::EndElements(arrays) => arrays.iter().for_each(|array| self.filling.end_element(*array)),
                Step::Default(default) => {
                    let (node, value) = default.as_ref();
                    // A default was checked against the schema when it was parsed.
                    node.read(value, self.filling).map_err(|_| DecodeError::DoesNotFit)?;
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, block: BlockId) -> Result<(), DecodeError> {
        self.calls += 1;
        if self.calls > MAX_CALLS {
            return Err(DecodeError::TooDeep);
        }
        self.block(block)?;
        self.calls -= 1;
        Ok(())
    }

    fn named_trait(&mut self, value: BlockId) -> Result<(), DecodeError> {
        let name = self.cursor.text()?;
        self.filling.begin_trait(name);
        self.block(value)?;
        self.filling.end_trait();
        Ok(())
    }

    /// The items of an array or a map, block by block. A block that gives its size is skipped in one step.
    ///
    /// Apart, so that the loop that most records are read by stays small.
    #[inline(never)]
    fn items(
        &mut self,
        min_size: usize,
        skip: bool,
        mut item: impl FnMut(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        loop {
            let count = self.cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            let mut expected_left = None;
            if count < 0 {
                let size = self.cursor.length()?;
                if skip {
                    self.cursor.take(size)?;
                    continue;
                }
                expected_left = Some(self.cursor.left() - size);
            }
            let count = count.unsigned_abs();
            self.afford(count, min_size)?;
            for _ in 0..count {
                item(self)?;
            }
            if expected_left.is_some_and(|left| left != self.cursor.left()) {
                return Err(DecodeError::BadLength);
            }
        }
    }

    /// Whether so many items can be in what is left.
    fn afford(&mut self, count: u64, min_size: usize) -> Result<(), DecodeError> {
        if min_size == 0 {
            self.empty_items = self.empty_items.saturating_add(count);
            return if self.empty_items > MAX_EMPTY_ITEMS { Err(DecodeError::BadLength) } else { Ok(()) };
        }
        let most = self.cursor.left() / min_size;
        if usize::try_from(count).is_ok_and(|count| count <= most) { Ok(()) } else { Err(DecodeError::Truncated) }
    }
}
