//! How many bytes a customer takes under a set of definitions, by how much happened to them within a year: the table of
//! ARCHITECTURE.md. `cargo run --no-default-features --example state_size [DIR]`

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use segue::definition::load;
use segue::engine::record::Origin;
use segue::testing::{Options, Replay};
use segue::wire::customer::encode;
use segue::wire::schema::SchemaSet;

const YEAR_MS: usize = 365 * 86_400_000;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| "deploy/segments".to_owned());
    let schemas = SchemaSet::shipped()?;
    let definitions = load(Path::new(&directory), schemas.schemas(), TimeZone::UTC)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))?;
    let catalog = Arc::new(definitions.catalog);
    println!("| events in a year | bytes | of them to recognise duplicates |");
    println!("|---:|---:|---:|");
    for n_events in [10, 100, 1_000, 10_000, 100_000] {
        let mut replay = Replay::new(catalog.clone(), &schemas, Options::default());
        for number in 0..n_events {
            replay.offer_json(event(number, n_events).as_bytes(), &Origin::default())?;
            drop(replay.take_changes());
        }
        let mut customer = replay.customer("c")?.ok_or("the customer is gone")?;
        let whole = encode(&customer).len();
        customer.recent_ids.clear();
        println!("| {n_events} | {whole} | {} |", whole - encode(&customer).len());
    }
    Ok(())
}

/// A shop's traffic: seven clicks, a cart left behind and two orders in every ten events; of 40 categories, 200 brands and
/// 5,000 products.
fn event(number: usize, n_events: usize) -> String {
    let at = number * (YEAR_MS / n_events);
    let pick = |kinds: usize| number.wrapping_mul(2_654_435_761) / 7 % kinds;
    let (category, brand, product) = (pick(40), pick(200), pick(5_000));
    let envelope = format!(r#""event_id":"e{number}","customer_id":"c","occurred_at":{at}"#);
    let item = format!(
        r#"{{"product_id":"p{product}","category":"c{category}","brand":"b{brand}","quantity":1,"price":19.9}}"#
    );
    match number % 10 {
        3 | 9 => format!(
            r#"{{"type":"purchase",{envelope},"order_id":"o{number}","cart_id":"k{number}","total":59.7,"currency":"EUR","items":[{item}]}}"#
        ),
        6 => format!(
            r#"{{"type":"cart_abandonment",{envelope},"cart_id":"k{number}","cart_value":80,"currency":"EUR","items":[{item}]}}"#
        ),
        other => format!(
            r#"{{"type":"click",{envelope},"page":"page{other}","product_id":"p{product}","category":"c{category}","brand":"b{brand}","session_id":"s{}","device":"phone","channel":"web","language":"de","country":"DE"}}"#,
            number / 10
        ),
    }
}
