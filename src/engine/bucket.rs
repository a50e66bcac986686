//! `bucket("salt")`: a fixed number in `0 <= x < 1` per customer, for holdouts and A/B tests.

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::value::Value;

/// The first 8 bytes, big-endian, of SHA-256 over `salt`, `:` and the customer id, divided by 2^64.
#[must_use]
pub(super) fn bucket(salt: &str, customer_id: &str) -> Value {
    let digest = Sha256::new().chain_update(salt).chain_update(":").chain_update(customer_id).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    let quotient = Decimal::from(u64::from_be_bytes(first)).checked_div(Decimal::from(1_u128 << 64));
    quotient.map_or(Value::Unknown, Value::Number)
}
