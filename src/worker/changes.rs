//! Change records read back, by the schemas that the registry has of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::kafka::registry::{Lookup, Registry};
use crate::kafka::{KafkaError, Stop};
use crate::wire::told::{ChangeReader, ToldError};

/// A change record cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum UntoldError {
    /// It cannot be read.
    #[error(transparent)]
    Record(#[from] ToldError),
    /// There is nobody to ask for its schema.
    #[error("its schema has the id {0} in a registry, and `schemas.registry` names none")]
    NoRegistry(u32),
    /// The registry does not have its schema.
    #[error("schema id {id}: {why}")]
    UnknownSchema {
        /// The id.
        id: u32,
        /// What the registry says.
        why: Arc<str>,
    },
    /// The process is to end.
    #[error(transparent)]
    Stopped(#[from] KafkaError),
}

/// Reads change records, and asks the registry for schemas where there is one.
pub struct Changes {
    reader: ChangeReader,
    registry: Option<Registry>,
    stop: Stop,
}

impl Changes {
    /// Knows only this version's schema so far.
    ///
    /// # Errors
    /// When that is none: a mistake in the program.
    pub fn new(registry: Option<Registry>, stop: Stop) -> Result<Self, ToldError> {
        Ok(Self { reader: ChangeReader::new()?, registry, stop })
    }

    /// The change that a record's value holds, as its JSON form has it. Waits for the registry.
    ///
    /// # Errors
    /// When it holds none, or when its schema is not known.
    pub fn read(&mut self, value: &[u8]) -> Result<Map<String, Value>, UntoldError> {
        match self.reader.read(value) {
            Err(ToldError::NeedsSchema(id)) => {
                self.learn(id)?;
                Ok(self.reader.read(value)?)
            }
            read => Ok(read?),
        }
    }

    fn learn(&mut self, id: u32) -> Result<(), UntoldError> {
        const AGAIN: Duration = Duration::from_millis(20);
        let registry = self.registry.as_ref().ok_or(UntoldError::NoRegistry(id))?;
        loop {
            match registry.schema(id) {
                Lookup::Known(schema) => return Ok(self.reader.learn(id, &schema.schema, &schema.references)?),
                Lookup::Unknown(why) => return Err(UntoldError::UnknownSchema { id, why }),
                Lookup::Pending => self.stop.sleep(AGAIN)?,
            }
        }
    }
}
