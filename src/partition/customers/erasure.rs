//! What is left of a customer after an erasure: a keyed hash of the id, the instant and the last sequence.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::{CUSTOMER, Customers, ERASED};
use crate::engine::customer::Customer;
use crate::store::{Store, StoreError};

/// The secret with which the ids of erased customers are hashed.
#[derive(Clone, Default)]
pub struct ErasureKey(pub Vec<u8>);

impl std::fmt::Debug for ErasureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErasureKey(…)")
    }
}

impl ErasureKey {
    /// HMAC-SHA-256 of the customer id (RFC 2104), as the store's key.
    pub(super) fn key(&self, customer_id: &str) -> Vec<u8> {
        const BLOCK: usize = 64;
        let mut padded = [0; BLOCK];
        if self.0.len() > BLOCK {
            padded[..32].copy_from_slice(&Sha256::digest(&self.0));
        } else {
            padded[..self.0.len()].copy_from_slice(&self.0);
        }
        let inner = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(customer_id).finalize();
        let outer = Sha256::new().chain_update(padded.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
        let mut key = vec![ERASED];
        key.extend_from_slice(&outer);
        key
    }
}

/// That a customer was erased, and when: all that is remembered of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The keyed hash of the customer's id, in hexadecimal digits: what stands for them in the changelog and in log lines.
    pub hash: String,
    /// The instant of the erasure, milliseconds since the epoch: what occurred before it is dropped.
    pub erased_at: i64,
    /// Changes told of them until then; those by which they left every segment are the last.
    pub sequence: u64,
    /// Whether somebody new has begun under that id since.
    pub has_returned: bool,
}

impl<S: Store> Customers<S> {
    /// What the last erasure of a customer left, if there was one.
    pub(super) fn remains(&mut self, customer_id: &str) -> Result<Option<Customer>, StoreError> {
        if self.any_erased.is_none() {
            let first = self.store.scan(Some(&[CUSTOMER + 1]), 1)?;
            self.any_erased = Some(first.first().is_some_and(|(key, _)| key.first() == Some(&ERASED)));
        }
        let is_possible = self.any_erased == Some(true);
        let remains = if is_possible { self.peek_key(&self.erasure_key.key(customer_id))? } else { None };
        Ok(remains.map(Cow::into_owned))
    }

    /// The receipt of a customer's last erasure, if there was one.
    pub(in crate::partition) fn receipt(&mut self, customer_id: &str) -> Result<Option<Receipt>, StoreError> {
        let Some(Customer { erased_at: Some(erased_at), sequence, .. }) = self.remains(customer_id)? else {
            return Ok(None);
        };
        let mut hash = String::new();
        for byte in &self.erasure_key.key(customer_id)[1..] {
            // Writing to a text cannot fail.
            let _ = write!(hash, "{byte:02x}");
        }
        let has_returned = self.peek(customer_id)?.is_some_and(|customer| customer.own_time.is_some());
        Ok(Some(Receipt { hash, erased_at, sequence, has_returned }))
    }
}
