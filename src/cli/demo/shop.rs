//! A small shop's traffic: its customers, what they are up to, and the records that makes. Time and chance are arguments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::goods::{ARTICLES, Article, CUSTOMERS, REGULAR, SEARCHES};
use super::random::Random;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// How far back the shop's past goes.
const PAST_DAYS: i64 = 400;

/// A record for one of the input topics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ShopRecord {
    /// The event type, or `profile`, `consent`, `erasure`.
    pub(super) record_type: &'static str,
    /// Whom it is about: the Kafka key.
    pub(super) customer: &'static str,
    /// Epoch milliseconds.
    pub(super) occurred_at: i64,
    /// In the shape of JSON topics.
    pub(super) json: Value,
}

/// The shop: who will do what when.
#[derive(Debug)]
pub(super) struct Shop {
    random: Random,
    n_events: u64,
    n_carts: u64,
    /// What is to come, by instant and order of planning.
    agenda: BTreeMap<(i64, u64), Plan>,
    n_planned: u64,
}

#[derive(Debug)]
struct Plan {
    customer: &'static str,
    step: Step,
}

/// One thing a customer does.
#[derive(Debug)]
enum Step {
    Look { page: &'static str, article: Option<&'static Article>, source: Option<&'static str>, session: String },
    Search { words: &'static str, session: String },
    Leave { cart: String, articles: Vec<&'static Article>, at_payment: bool },
    Buy { cart: Option<String>, articles: Vec<&'static Article>, in_store: bool },
    Join,
    Consent(bool),
    Forget,
}

impl Shop {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), n_events: 0, n_carts: 0, agenda: BTreeMap::new(), n_planned: 0 }
    }

    /// All that happened before the shop was opened to us, in order.
    pub(super) fn past(&mut self, now: i64) -> Vec<ShopRecord> {
        for (index, customer) in CUSTOMERS.iter().enumerate() {
            let index = i64::try_from(index).unwrap_or_default();
            let joined = now - (20 + index * 7 % PAST_DAYS) * DAY_MS;
            self.plan(joined, customer, Step::Join);
            if self.random.chance(70) {
                self.plan(joined + MINUTE_MS, customer, Step::Consent(true));
            }
            // Some come every week, some are not seen for half a year.
            let every_days = 4 + index % 5 * 9;
            let last = if index % 4 == 1 { now - 170 * DAY_MS - index * DAY_MS } else { now - DAY_MS };
            let mut at = joined + 2 * MINUTE_MS;
            while at < last {
                self.visit(at, customer, 30 * SECOND_MS);
                at += every_days * DAY_MS + self.random.below(DAY_MS);
            }
        }
        self.due(now - MINUTE_MS)
    }

    /// Somebody comes in, at this instant.
    pub(super) fn somebody_comes(&mut self, now: i64) {
        let customer = self.random.one_of(CUSTOMERS);
        match self.random.below(100) {
            0..2 => self.plan(now, customer, Step::Consent(false)),
            2..4 => self.plan(now, customer, Step::Consent(true)),
            4 if customer != REGULAR => self.plan(now, customer, Step::Forget),
            5..7 => self.plan(now, customer, Step::Join),
            _ => self.visit(now, customer, 2 * SECOND_MS),
        }
    }

    /// What has happened by now, in order.
    pub(super) fn due(&mut self, now: i64) -> Vec<ShopRecord> {
        let later = self.agenda.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut self.agenda, later);
        due.into_iter().map(|((at, _), plan)| self.record(at, &plan)).collect()
    }

    fn plan(&mut self, at: i64, customer: &'static str, step: Step) {
        self.n_planned += 1;
        self.agenda.insert((at, self.n_planned), Plan { customer, step });
    }

    /// A visit: some looks, and then a purchase, a cart left behind, or nothing. `pace_ms` lies between two steps.
    fn visit(&mut self, start: i64, customer: &'static str, pace_ms: i64) {
        let session = format!("s{}", self.n_planned);
        let source = [None, None, None, Some("newsletter"), Some("google")][self.random.index(5)];
        let mut at = start;
        let look = |page, article| Step::Look { page, article, source, session: session.clone() };
        self.plan(at, customer, look("home", None));
        at += pace_ms;
        if self.random.chance(20) {
            let words = self.random.one_of(SEARCHES);
            self.plan(at, customer, Step::Search { words, session: session.clone() });
            at += pace_ms;
        }
        let taste = usize::from(customer.as_bytes().first().copied().unwrap_or_default());
        let mut basket = Vec::new();
        for _ in 0..=self.random.below(5) {
            // Two looks in three are for what the customer likes best.
            let any = self.random.one_of(ARTICLES);
            let liked = ARTICLES.iter().copied().filter(|article| article.suits(taste));
            let liked: Vec<&'static Article> = liked.filter(|_| self.random.chance(66)).collect();
            let article = liked.get(self.random.index(liked.len())).copied().unwrap_or(any);
            self.plan(at, customer, look("product", Some(article)));
            basket.push(article);
            at += pace_ms / 2 + self.random.below(pace_ms);
        }
        basket.truncate(3);
        self.plan(at, customer, look("cart", None));
        at += pace_ms;
        self.finish(at, customer, basket, pace_ms, look("payment", None));
    }

    fn finish(&mut self, at: i64, customer: &'static str, basket: Vec<&'static Article>, pace_ms: i64, payment: Step) {
        self.n_carts += 1;
        let cart = format!("cart-{}", self.n_carts);
        match self.random.below(100) {
            0..35 => {
                self.plan(at, customer, payment);
                self.plan(at + pace_ms, customer, Step::Buy { cart: Some(cart), articles: basket, in_store: false });
            }
            35..42 => self.plan(at, customer, Step::Buy { cart: None, articles: basket, in_store: true }),
            42..60 => self.plan(at, customer, Step::Leave { cart, articles: basket, at_payment: false }),
            60..70 => {
                self.plan(at, customer, payment);
                self.plan(at + pace_ms, customer, Step::Leave { cart, articles: basket, at_payment: true });
            }
            // Left, and saved a little later.
            70..80 => {
                self.plan(
                    at,
                    customer,
                    Step::Leave { cart: cart.clone(), articles: basket.clone(), at_payment: false },
                );
                self.plan(
                    at + 8 * pace_ms,
                    customer,
                    Step::Buy { cart: Some(cart), articles: basket, in_store: false },
                );
            }
            _ => {}
        }
    }

    fn record(&mut self, occurred_at: i64, plan: &Plan) -> ShopRecord {
        let customer = plan.customer;
        let device = if customer.len().is_multiple_of(2) { "mobile" } else { "desktop" };
        let country = if self.random.chance(2) { "IT" } else { "DE" };
        let (record_type, mut json) = match &plan.step {
            Step::Look { page, article, source, session } => {
                ("click", look(page, *article, *source, session, (device, country)))
            }
            Step::Search { words, session } => {
                ("click", json!({"page": "search", "search": words, "session_id": session, "device": device}))
            }
            Step::Leave { cart, articles, at_payment } => {
                ("cart_abandonment", leave(cart, articles, *at_payment, device))
            }
            Step::Buy { cart, articles, in_store } => {
                let coupon = self.random.chance(20).then_some("WELCOME10");
                ("purchase", buy(self.n_events, cart.as_deref(), articles, *in_store, coupon, device))
            }
            Step::Join => ("profile", self.join(occurred_at)),
            Step::Consent(granted) => {
                ("consent", json!({"purpose": "marketing", "granted": granted, "source": "website"}))
            }
            Step::Forget => ("erasure", json!({"reason": "asked the service desk"})),
        };
        self.n_events += 1;
        if let Some(object) = json.as_object_mut() {
            object.insert("type".into(), record_type.into());
            object.insert("event_id".into(), format!("{record_type}-{}", self.n_events).into());
            object.insert("customer_id".into(), customer.into());
            object.insert("occurred_at".into(), occurred_at.into());
        }
        ShopRecord { record_type, customer, occurred_at, json }
    }

    fn join(&mut self, now: i64) -> Value {
        let birth = now - (20 + self.random.below(50)) * 365 * DAY_MS - self.random.below(365) * DAY_MS;
        let birth_date = jiff::Timestamp::from_millisecond(birth)
            .map(|instant| instant.to_string().chars().take(10).collect::<String>());
        let language = self.random.one_of(&["de", "en", "fr", "de-AT"]);
        json!({"traits": {"birth_date": birth_date.unwrap_or_default(), "preferred_language": language, "home_country": "DE"}})
    }
}

fn look(
    page: &str,
    article: Option<&Article>,
    source: Option<&str>,
    session: &str,
    (device, country): (&str, &str),
) -> Value {
    let medium = source.map(|source| if source == "newsletter" { "email" } else { "cpc" });
    json!({
        "page": page,
        "product_id": article.map(|article| article.id),
        "category": article.map(|article| article.category),
        "brand": article.map(|article| article.brand),
        "session_id": session,
        "device": device,
        "channel": "web",
        "utm_source": source,
        "utm_medium": medium,
        "country": country,
        "language": "de-DE",
    })
}

fn leave(cart: &str, articles: &[&Article], at_payment: bool, device: &str) -> Value {
    json!({
        "cart_id": cart,
        "cart_value": euros(articles.iter().map(|article| article.cents).sum()),
        "currency": "EUR",
        "items": items(articles),
        "step": if at_payment { "payment" } else { "cart" },
        "device": device,
        "channel": "web",
    })
}

fn buy(
    number: u64,
    cart: Option<&str>,
    articles: &[&Article],
    in_store: bool,
    coupon: Option<&str>,
    device: &str,
) -> Value {
    json!({
        "order_id": format!("order-{number}"),
        "cart_id": cart,
        "total": euros(articles.iter().map(|article| article.cents).sum()),
        "currency": "EUR",
        "items": items(articles),
        "device": if in_store { "till" } else { device },
        "channel": if in_store { "store" } else { "web" },
        "store_id": in_store.then_some("store-1"),
        "coupon": coupon,
    })
}

fn items(articles: &[&Article]) -> Vec<Value> {
    let item = |article: &&Article| {
        json!({
            "product_id": article.id,
            "category": article.category,
            "brand": article.brand,
            "quantity": 1,
            "price": euros(article.cents),
        })
    };
    articles.iter().map(item).collect()
}

fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::load_texts;
    use crate::engine::record::{Body, Envelope, Record};
    use crate::wire::json::JsonDecoder;
    use crate::wire::schema::SchemaSet;

    const NOW: i64 = 1_767_225_600_000;

    fn traffic(seed: u64) -> Vec<ShopRecord> {
        let mut shop = Shop::new(seed);
        let mut records = shop.past(NOW);
        for second in 0..120 {
            shop.somebody_comes(NOW + second * SECOND_MS);
            records.extend(shop.due(NOW + second * SECOND_MS));
        }
        records
    }

    #[test]
    fn every_record_is_what_its_schema_says() {
        let schemas = SchemaSet::shipped().unwrap();
        let definitions = load_texts(&super::super::definitions(), schemas.schemas(), jiff::tz::TimeZone::UTC).unwrap();
        let mut decoder = JsonDecoder::new(&schemas, &definitions.catalog);
        let mut record = Record { envelope: Envelope::default(), body: Body::Erasure };
        for made in traffic(1) {
            let decoded = decoder.decode_into(made.json.to_string().as_bytes(), &mut record);
            assert_eq!(decoded, Ok(()), "{}", made.json);
        }
    }

    #[test]
    fn all_but_one_may_ask_to_be_forgotten() {
        let mut shop = Shop::new(1);
        (0..10_000).for_each(|second| shop.somebody_comes(NOW + second * SECOND_MS));
        let records = shop.due(i64::MAX - 1);
        let forgotten = records.iter().filter(|record| record.record_type == "erasure").map(|record| record.customer);
        assert_ne!(forgotten.clone().count(), 0);
        assert!(forgotten.clone().all(|customer| customer != REGULAR));
    }

    #[test]
    fn records_come_in_order_and_of_every_type() {
        let records = traffic(2);
        assert!(records.windows(2).all(|pair| pair[0].occurred_at <= pair[1].occurred_at));
        for record_type in ["click", "purchase", "cart_abandonment", "profile", "consent"] {
            assert!(records.iter().any(|record| record.record_type == record_type), "no {record_type}");
        }
        assert_eq!(records, traffic(2), "the seed decides");
        assert_ne!(records, traffic(3));
    }
}
