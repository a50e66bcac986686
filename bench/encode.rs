//! Events as Avro, in the single-object encoding: no registry is needed to read them.

use segue::wire::framing::fingerprint;
use segue::wire::schema::SchemaSet;

use crate::chance::{Chance, mixed};
use crate::traffic::{Event, Item, Kind, brand, category, click, customer_id, items, place};

/// Writes events of the shipped types.
pub(crate) struct Encoder {
    /// By kind: what comes before the record.
    headers: [[u8; 10]; 3],
}

impl Encoder {
    /// `None` when a shipped schema is not among these.
    pub(crate) fn new(schemas: &SchemaSet) -> Option<Self> {
        let header = |name: &str| {
            let record = schemas.records().find(|record| record.name == name)?;
            let mut header = [0xc3, 1, 0, 0, 0, 0, 0, 0, 0, 0];
            header[2..].copy_from_slice(&fingerprint(&record.avro));
            Some(header)
        };
        Some(Self { headers: [header("click")?, header("purchase")?, header("cart_abandonment")?] })
    }

    /// Appends the value of an event.
    pub(crate) fn write(&self, event: &Event, chance: &mut Chance, out: &mut Vec<u8>) {
        let header = match event.kind {
            Kind::Click => &self.headers[0],
            Kind::Purchase => &self.headers[1],
            Kind::CartAbandonment => &self.headers[2],
        };
        out.extend_from_slice(header);
        text(&event_id(event), out);
        text(&customer_id(event.customer), out);
        long(event.occurred_at, out);
        match event.kind {
            Kind::Click => write_click(event, chance, out),
            Kind::Purchase => write_purchase(event, chance, out),
            Kind::CartAbandonment => write_cart(event, chance, out),
        }
    }
}

fn event_id(event: &Event) -> String {
    format!("{:016x}{:016x}", mixed(event.number ^ 0xe7e7), mixed(event.number))
}

fn write_click(event: &Event, chance: &mut Chance, out: &mut Vec<u8>) {
    let click = click(event, chance);
    let (country, city, language) = place(event.customer);
    maybe(Some(click.page), out);
    maybe(click.product.map(product_id).as_deref(), out);
    maybe(click.product.map(category), out);
    maybe(click.product.map(brand_name).as_deref(), out);
    maybe(click.search, out);
    maybe(Some(&format!("{:016x}", click.session)), out);
    maybe(Some(click.device), out);
    maybe(Some(click.channel), out);
    maybe(click.referrer, out);
    maybe(click.campaign.map(|(source, _, _)| source), out);
    maybe(click.campaign.map(|(_, medium, _)| medium), out);
    maybe(click.campaign.map(|(_, _, campaign)| format!("campaign-{campaign}")).as_deref(), out);
    maybe(Some(country), out);
    maybe(Some(city), out);
    maybe(Some(language), out);
}

fn write_purchase(event: &Event, chance: &mut Chance, out: &mut Vec<u8>) {
    let items = items(event, chance);
    text(&format!("order-{:09}", event.number), out);
    maybe(Some(&format!("cart-{:09}", event.cart)), out);
    decimal(total(&items), out);
    text("EUR", out);
    write_items(&items, out);
    maybe(Some(chance.one_of(&["mobile", "desktop"])), out);
    maybe(Some(chance.one_of(&["web", "app", "store"])), out);
    maybe(chance.percent(10).then_some("SPRING10"), out);
    maybe(None, out);
    let campaign = chance.percent(10).then(|| format!("campaign-{}", chance.below(500)));
    maybe(campaign.as_ref().map(|_| "newsletter"), out);
    maybe(campaign.as_deref(), out);
    maybe(Some(place(event.customer).0), out);
}

fn write_cart(event: &Event, chance: &mut Chance, out: &mut Vec<u8>) {
    let items = items(event, chance);
    text(&format!("cart-{:09}", event.cart), out);
    decimal(total(&items), out);
    text("EUR", out);
    write_items(&items, out);
    maybe(Some(chance.one_of(&["cart", "address", "payment"])), out);
    maybe(Some(chance.one_of(&["mobile", "desktop"])), out);
    maybe(Some(chance.one_of(&["web", "app"])), out);
    maybe(Some(place(event.customer).0), out);
}

fn write_items(items: &[Item], out: &mut Vec<u8>) {
    long(i64::try_from(items.len()).unwrap_or_default(), out);
    for item in items {
        text(&product_id(item.product), out);
        maybe(Some(category(item.product)), out);
        maybe(Some(&brand_name(item.product)), out);
        long(i64::try_from(item.quantity).unwrap_or_default(), out);
        decimal(item.price, out);
    }
    long(0, out);
}

/// Hundredths.
fn total(items: &[Item]) -> u64 {
    items.iter().map(|item| item.quantity * item.price).sum()
}

fn product_id(product: u64) -> String {
    format!("product-{product:05}")
}

fn brand_name(product: u64) -> String {
    format!("brand-{:02}", brand(product))
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or_default());
}

fn text(text: &str, out: &mut Vec<u8>) {
    long(i64::try_from(text.len()).unwrap_or_default(), out);
    out.extend_from_slice(text.as_bytes());
}

/// A union of null and text.
fn maybe(value: Option<&str>, out: &mut Vec<u8>) {
    match value {
        None => long(0, out),
        Some(value) => {
            long(1, out);
            text(value, out);
        }
    }
}

/// A decimal of scale 4.
fn decimal(hundredths: u64, out: &mut Vec<u8>) {
    let bytes = (hundredths * 100).to_be_bytes();
    // As few bytes as hold it and a sign.
    let skip = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
    let skip = if bytes[skip] >= 0x80 { skip.saturating_sub(1) } else { skip };
    long(i64::try_from(bytes.len() - skip).unwrap_or_default(), out);
    out.extend_from_slice(&bytes[skip..]);
}
