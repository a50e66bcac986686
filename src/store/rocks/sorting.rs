//! Entries that come in any order, given back in the order of their keys, the last one of each key: what is more than some
//! memory holds waits in a file, sorted piece by piece.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// In front of each entry: the lengths of its key and of its value, four bytes each.
const LENGTHS: usize = 8;
/// Instead of the length of a value: what came under the key before is removed.
const REMOVED: u32 = u32::MAX;
/// What is written at a time, bytes.
const WRITTEN_AT_ONCE: usize = 256 << 10;
/// What is read of a run at a time, bytes; less where there are so many that memory would not do.
const READ_AHEAD: Range<usize> = 4 << 10..64 << 10;

/// Takes entries in any order.
#[derive(Debug)]
pub(super) struct Sorting {
    file: PathBuf,
    /// How many bytes of entries are held in memory.
    room: usize,
    /// Entries with their lengths in front, in order of arrival.
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// What was sorted and written, and where it begins and ends.
    written: Option<BufWriter<File>>,
    runs: Vec<Range<u64>>,
}

/// Where an entry is, and what its key begins with after what all keys begin with, which decides most comparisons.
#[derive(Debug, Clone, Copy)]
struct Place {
    prefix: u64,
    start: usize,
}

/// An entry in its bytes.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
    length: usize,
}

impl<'a> Entry<'a> {
    /// The first of some bytes; `None` where they end before it does.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (lengths, rest) = bytes.split_first_chunk::<LENGTHS>()?;
        let [k0, k1, k2, k3, v0, v1, v2, v3] = *lengths;
        let (key, value) = (u32::from_le_bytes([k0, k1, k2, k3]), u32::from_le_bytes([v0, v1, v2, v3]));
        let (key, rest) = rest.split_at_checked(key as usize)?;
        let value = if value == REMOVED { None } else { Some(rest.get(..value as usize)?) };
        Some(Self { key, value, length: LENGTHS + key.len() + value.map_or(0, <[u8]>::len) })
    }
}

impl Sorting {
    /// Nothing yet. The file is made when it is needed.
    pub(super) fn new(file: PathBuf, room: usize) -> Self {
        Self { file, room, bytes: Vec::new(), places: Vec::new(), written: None, runs: Vec::new() }
    }

    /// Takes an entry; `None` removes what came under its key before.
    pub(super) fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let too_long = |_| io::Error::other("a key or a value of 4 GiB");
        let key_length = u32::try_from(key.len()).map_err(too_long)?;
        let value_length = value.map_or(Ok(REMOVED), |value| u32::try_from(value.len())).map_err(too_long)?;
        let n_bytes = LENGTHS + key.len() + value.map_or(0, <[u8]>::len);
        if self.bytes.len() + n_bytes + self.places.len() * size_of::<Place>() > self.room && !self.places.is_empty() {
            self.write_run()?;
        }
        self.places.push(Place { prefix: 0, start: self.bytes.len() });
        self.bytes.extend_from_slice(&key_length.to_le_bytes());
        self.bytes.extend_from_slice(&value_length.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        Ok(())
    }

    /// Sorts what is in memory, and appends it to the file.
    fn write_run(&mut self) -> io::Result<()> {
        self.sort();
        let file = if let Some(file) = &mut self.written {
            file
        } else {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&self.file)?;
            self.written.insert(BufWriter::with_capacity(WRITTEN_AT_ONCE, file))
        };
        let start = self.runs.last().map_or(0, |run| run.end);
        let mut end = start;
        for (place, entry) in last_of_each(&self.bytes, &self.places) {
            file.write_all(&self.bytes[place.start..place.start + entry.length])?;
            end += entry.length as u64;
        }
        self.runs.push(start..end);
        self.places.clear();
        self.bytes.clear();
        Ok(())
    }

    /// By key, and those of one key by arrival.
    fn sort(&mut self) {
        let Self { bytes, places, .. } = self;
        let key = |place: Place| entry_at(bytes, place).map_or(&[][..], |entry| entry.key);
        let Some(first) = places.first().map(|place| key(*place)) else { return };
        let common = |length: usize, place: &Place| {
            first[..length].iter().zip(key(*place)).take_while(|(one, other)| one == other).count()
        };
        let n_common = places.iter().fold(first.len(), common);
        let prefix = |place: Place| {
            let mut prefix = [0; 8];
            let rest = &key(place)[n_common..];
            let length = rest.len().min(prefix.len());
            prefix[..length].copy_from_slice(&rest[..length]);
            u64::from_be_bytes(prefix)
        };
        let prefixes: Vec<u64> = places.iter().map(|place| prefix(*place)).collect();
        places.iter_mut().zip(prefixes).for_each(|(place, prefix)| place.prefix = prefix);
        places.sort_unstable_by(|one, other| {
            let by_prefix = one.prefix.cmp(&other.prefix);
            by_prefix.then_with(|| key(*one).cmp(key(*other))).then(one.start.cmp(&other.start))
        });
    }

    /// Gives the last entry of each key that was not removed, in order of keys.
    ///
    /// # Errors
    /// What `visit` gives, or when the file cannot be read.
    pub(super) fn each<E: From<io::Error>>(
        mut self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.runs.is_empty() {
            self.sort();
            for (_, entry) in last_of_each(&self.bytes, &self.places) {
                if let Some(value) = entry.value {
                    visit(entry.key, value)?;
                }
            }
            return Ok(());
        }
        self.write_run()?;
        let Self { room, written, runs, bytes, places, .. } = self;
        drop((bytes, places));
        let Some(written) = written else { return Ok(()) };
        let file = written.into_inner().map_err(io::IntoInnerError::into_error)?;
        merge(&file, &runs, (room / runs.len()).clamp(READ_AHEAD.start, READ_AHEAD.end), visit)
    }
}

fn entry_at(bytes: &[u8], place: Place) -> Option<Entry<'_>> {
    Entry::first(bytes.get(place.start..)?)
}

/// The last entry of each key, of entries in order.
fn last_of_each<'a>(bytes: &'a [u8], places: &'a [Place]) -> impl Iterator<Item = (Place, Entry<'a>)> {
    let mut entries = places.iter().filter_map(|place| Some((*place, entry_at(bytes, *place)?))).peekable();
    std::iter::from_fn(move || {
        let mut last = entries.next()?;
        while let Some(next) = entries.next_if(|(_, next)| next.key == last.1.key) {
            last = next;
        }
        Some(last)
    })
}

/// Gives the last entry of each key of several runs, in each of which it is there once.
fn merge<E: From<io::Error>>(
    file: &File,
    runs: &[Range<u64>],
    read_ahead: usize,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut readers = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let mut reader = Reader { file, number, rest: run.clone(), bytes: Vec::new(), start: 0, read_ahead };
        if reader.find()? {
            readers.push(reader);
        }
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(mut reader) = readers.peek_mut() {
        let Some(entry) = reader.entry() else { return Err(cut_off().into()) };
        if last.as_deref() != Some(entry.key) {
            let key = last.get_or_insert_default();
            key.clear();
            key.extend_from_slice(entry.key);
            if let Some(value) = entry.value {
                visit(entry.key, value)?;
            }
        }
        let length = entry.length;
        reader.start += length;
        if !reader.find()? {
            PeekMut::pop(reader);
        }
    }
    Ok(())
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a sorted run is cut off")
}

/// Reads a run. The greatest is the one whose entry comes next: the least key, and of one key the last one written.
#[derive(Debug)]
struct Reader<'f> {
    file: &'f File,
    number: usize,
    /// What was not read yet.
    rest: Range<u64>,
    bytes: Vec<u8>,
    /// Where the entry begins that it stands at.
    start: usize,
    read_ahead: usize,
}

impl Reader<'_> {
    fn entry(&self) -> Option<Entry<'_>> {
        Entry::first(self.bytes.get(self.start..)?)
    }

    /// Reads until the whole entry is there; `false` at the end.
    fn find(&mut self) -> io::Result<bool> {
        while self.entry().is_none() {
            if self.rest.is_empty() {
                return if self.start == self.bytes.len() { Ok(false) } else { Err(cut_off()) };
            }
            self.bytes.drain(..self.start);
            self.start = 0;
            let kept = self.bytes.len();
            let left = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
            self.bytes.resize(kept + left.min(self.read_ahead), 0);
            self.file.read_exact_at(&mut self.bytes[kept..], self.rest.start)?;
            self.rest.start += (self.bytes.len() - kept) as u64;
        }
        Ok(true)
    }

    fn place(&self) -> (&[u8], std::cmp::Reverse<usize>) {
        (self.entry().map_or(&[], |entry| entry.key), std::cmp::Reverse(self.number))
    }
}

impl Ord for Reader<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place().cmp(&self.place())
    }
}

impl PartialOrd for Reader<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Reader<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Reader<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Given = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    /// Bytes of memory, and what a map comes to is what comes out.
    #[track_caller]
    fn check(room: usize, given: &Given) {
        let directory = tempfile::tempdir().unwrap();
        let mut sorting = Sorting::new(directory.path().join("runs"), room);
        let mut expected = BTreeMap::new();
        for (key, value) in given {
            sorting.take(key, value.as_deref()).unwrap();
            match value {
                Some(value) => drop(expected.insert(key.clone(), value.clone())),
                None => drop(expected.remove(key)),
            }
        }
        let mut found = Vec::new();
        let visited: io::Result<()> = sorting.each(|key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        visited.unwrap();
        assert_eq!(found, Vec::from_iter(expected));
    }

    fn given() -> impl Strategy<Value = Given> {
        let key = prop_oneof![
            prop::collection::vec(0..3_u8, 0..4),
            (0..300_u32).prop_map(|number| format!("customer-{number}-and-more").into_bytes()),
        ];
        let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..60));
        prop::collection::vec((key, value), 0..400)
    }

    proptest! {
        #[test]
        fn the_last_of_each_key_comes_out_in_order(given in given(), room in prop_oneof![0..20_000_usize, Just(1 << 20)]) {
            check(room, &given);
        }
    }

    #[test]
    fn entries_longer_than_what_is_read_at_a_time_come_out() {
        let long = |byte: u8| (vec![byte], Some(vec![byte; 300_000]));
        check(400_000, &vec![long(3), long(1), long(2), (vec![0], None), long(1)]);
    }
}
