//! Files of events, one after the other: JSON lines, Avro object containers and standard input, read as they are used.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::engine::catalog::Catalog;
use crate::engine::record::Origin;
use crate::testing::{OfferError, Replay};
use crate::wire::avro::Decoder;
use crate::wire::container::{Container, ContainerError, Next};
use crate::wire::schema::SchemaSet;

use super::exit::{Blame as _, Exit, Failure};
use super::progress::Progress;

/// What reading on brought.
pub(super) enum Heard {
    /// A record that counted, or one that was dropped as it should be.
    Counted,
    /// A line or record that did not count: where, and why.
    Bad(String),
    /// Nothing more for now: what was printed should be seen.
    Silence,
}

/// Files of events, and how they are read.
pub(super) struct EventFiles<'a> {
    pub(super) files: &'a [PathBuf],
    pub(super) schemas: &'a SchemaSet,
    /// Records that occurred after this are passed over, milliseconds since the epoch.
    pub(super) ignore_after: i64,
    /// Told how many bytes were read.
    pub(super) progress: &'a Progress,
}

type Listener<'a> = &'a mut dyn FnMut(&mut Replay, Heard) -> io::Result<()>;

/// How much is read at once, bytes.
const BUFFER_BYTES: usize = 1 << 18;

impl EventFiles<'_> {
    /// The first file that is not there ends a command before it has printed anything.
    pub(super) fn must_exist(&self) -> Result<(), Failure> {
        for file in self.files.iter().filter(|file| !is_standard_input(file)) {
            let opened = File::open(file).with_context(|| cannot_read(file)).blame(Exit::Usage)?;
            if opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
                let problem = anyhow::anyhow!("{}: it is a directory, not a file of events", cannot_read(file));
                return Err(problem).blame(Exit::Usage);
            }
        }
        Ok(())
    }

    /// Reads the files one after the other into a replay, and says after each record what became of it.
    pub(super) fn read(&self, replay: &mut Replay, listener: Listener<'_>) -> Result<(), Failure> {
        for path in self.files {
            if is_standard_input(path) {
                let input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
                self.read_lines("standard input", input, true, replay, listener)?;
                continue;
            }
            let name = path.display().to_string();
            let file = File::open(path).with_context(|| cannot_read(path)).blame(Exit::Usage)?;
            let input = BufReader::with_capacity(BUFFER_BYTES, self.progress.reading(file));
            if path.extension().is_some_and(|extension| extension == "avro") {
                self.read_container(&name, input, replay, listener)?;
            } else {
                self.read_lines(&name, input, false, replay, listener)?;
            }
        }
        Ok(())
    }

    fn read_lines(
        &self,
        name: &str,
        mut input: BufReader<impl Read>,
        is_live: bool,
        replay: &mut Replay,
        listener: Listener<'_>,
    ) -> Result<(), Failure> {
        let mut origin = Origin { topic: name.into(), ..Origin::default() };
        let mut line = Vec::new();
        loop {
            if is_live && input.buffer().is_empty() {
                listener(replay, Heard::Silence)?;
            }
            line.clear();
            let n_read = input.read_until(b'\n', &mut line).with_context(|| format!("cannot read {name}"))?;
            if n_read == 0 {
                return Ok(());
            }
            origin.offset += 1;
            let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| origin.offset == 1).unwrap_or(&line);
            if text.trim_ascii().is_empty() {
                continue;
            }
            let heard = match replay.decode_json(text) {
                Ok(()) => self.take_in(replay, "line", &origin)?,
                Err(error) => Heard::bad(&origin, "line", &error),
            };
            listener(replay, heard)?;
        }
    }

    fn read_container(
        &self,
        name: &str,
        input: impl Read,
        replay: &mut Replay,
        listener: Listener<'_>,
    ) -> Result<(), Failure> {
        let unreadable = |result: Result<_, ContainerError>| result.with_context(|| name.to_owned()).blame(Exit::Wrong);
        let mut container = Container::new(input).with_context(|| name.to_owned()).blame(Exit::Wrong)?;
        let mut decoder = self.decoder(name, &container, replay.catalog())?;
        let mut origin = Origin { topic: name.into(), ..Origin::default() };
        loop {
            origin.offset += 1;
            let heard = match unreadable(container.next_into(&mut decoder, replay.record()))? {
                Next::End => return Ok(()),
                Next::Record => self.take_in(replay, "record", &origin)?,
                Next::Refused(error) => Heard::bad(&origin, "record", &error),
                Next::RestOfBlock { error, lost } => {
                    let heard = format!("{error}; the {lost} records from this one on are lost with it");
                    let heard = Heard::bad(&origin, "record", &heard);
                    origin.offset =
                        origin.offset.saturating_add(i64::try_from(lost).unwrap_or(i64::MAX)).saturating_sub(1);
                    heard
                }
            };
            listener(replay, heard)?;
        }
    }

    fn decoder<R: Read>(&self, name: &str, container: &Container<R>, catalog: &Catalog) -> Result<Decoder, Failure> {
        let writer = container.schema();
        let reader = self.schemas.reader_of(writer);
        let reader = reader
            .with_context(|| format!("{name}: its records are of no known type: add their schema with --schemas"))
            .blame(Exit::Wrong)?;
        let id = catalog.event_type_ids.get(&reader.name).copied();
        let projection = id.and_then(|id| catalog.event_types.get(id.index())).map(|known| known.projection.clone());
        Decoder::new(writer, reader, id.unwrap_or_default(), &projection.unwrap_or_default())
            .with_context(|| format!("{name}: its records cannot be read as `{}`", reader.name))
            .blame(Exit::Wrong)
    }

    fn take_in(&self, replay: &mut Replay, unit: &str, origin: &Origin) -> Result<Heard, Failure> {
        if replay.record().envelope.occurred_at > self.ignore_after {
            return Ok(Heard::Counted);
        }
        match replay.take_in(origin) {
            Ok(_) => Ok(Heard::Counted),
            Err(OfferError::Store(error)) => Err(error.into()),
            Err(error) => Ok(Heard::bad(origin, unit, &error)),
        }
    }
}

impl Heard {
    fn bad(origin: &Origin, unit: &str, error: &dyn fmt::Display) -> Self {
        Self::Bad(format!("{}: {unit} {}: {error}", origin.topic, origin.offset))
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}
