//! What is left of a customer's id after an erasure: a keyed hash.

use sha2::{Digest, Sha256};

use super::ERASED;

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
