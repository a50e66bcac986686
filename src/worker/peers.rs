//! The other processes of the application, as the consumer group knows them: each tells its address in its client id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kafka::members::Members;
use crate::kafka::{Clients, KafkaError};

use super::clock::{now, since};

/// Addresses are asked for again after this.
const FRESH: Duration = Duration::from_secs(2);

/// Where the other processes answer HTTP. Clones are the same.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

struct Shared {
    clients: Clients,
    group: String,
    own: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    members: Option<Members>,
    addresses: Vec<String>,
    asked_at: Option<Instant>,
}

impl Peers {
    /// The other members of a group; `own` is the address of this process.
    pub fn new(clients: Clients, group: &str, own: &str) -> Self {
        let (group, own) = (group.to_owned(), own.to_owned());
        Self(Arc::new(Shared { clients, group, own, known: Mutex::default() }))
    }

    /// Their addresses. May wait for the broker: not for a thread that must not block.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub fn addresses(&self) -> Result<Vec<String>, KafkaError> {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.asked_at.is_none_or(|asked_at| since(asked_at) > FRESH) {
            let members = match known.members.take() {
                Some(members) => members,
                None => Members::connect(&self.0.clients, &self.0.group)?,
            };
            let mut addresses = members.addresses()?;
            addresses.retain(|address| *address != self.0.own);
            *known = Known { members: Some(members), addresses, asked_at: Some(now()) };
        }
        Ok(known.addresses.clone())
    }
}
