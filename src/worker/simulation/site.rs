//! What is the same in all runs: the definitions, of which there are several versions, and what they are read with.

use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

use crate::definition::load_texts;
use crate::engine::catalog::Catalog;
use crate::engine::customer::Limits;
use crate::telemetry::Telemetry;
use crate::wire::schema::SchemaSet;

/// How many versions of the definitions there are.
pub(super) const N_VERSIONS: usize = 3;

/// Segments that depend on order, on pairs across topics, on consent and on time alone; then what somebody made of them:
/// conditions, lengths, purposes and names are others, some are gone, some are new.
const VERSIONS: [&str; N_VERSIONS] = [
    r"
segments:
  - {name: regular, when: count(click) >= 5}
  - {name: browsing, when: count(click over 8s) >= 3}
  - {name: converted, when: did(click then purchase within 9s over 15s)}
  - {name: warm, when: did(purchase over 6s), until: count(click over 5s) >= 2}
  - {name: abandoned, when: did(cart_abandonment without purchase within 4s over 9s)}
  - {name: spender, when: sum(purchase.total over 20s) >= 30}
  - {name: gone_quiet, when: did(click) and not did(click over 5s)}
  - {name: mail, when: did(click over 10s), purpose: marketing}
",
    r"
segments:
  - {name: regular, when: count(click) >= 3}
  - {name: converted, when: did(click then purchase within 6s over 12s)}
  - {name: warm, when: did(purchase over 9s), until: count(click over 5s) >= 2}
  - {name: waiting, when: did(cart_abandonment without purchase within 4s over 9s)}
  - {name: spender, when: sum(purchase.total over 12s) >= 20}
  - {name: gone_quiet, when: did(click) and not did(click over 3s)}
  - {name: mail, when: did(click over 10s)}
",
    r"
segments:
  - {name: browsing, when: count(click over 8s) >= 3, purpose: marketing}
  - {name: mail, when: did(click over 4s), purpose: marketing}
  - {name: new_here, when: did(click) and not did(purchase)}
",
];

/// What some runs have besides, by version. Who is there depends on when it is asked about everybody, which is not said.
const RANKED: [&str; N_VERSIONS] = [
    "  - {name: ranked_spender, when: percentile(sum(purchase.total)) >= 40}\n",
    "  - {name: ranked_spender, when: percentile(sum(purchase.total)) >= 60}
  - {name: ranked_visitor, when: percentile(count(click)) >= 30}\n",
    "  - {name: ranked_visitor, when: percentile(count(click)) between 20 and 70}\n",
];

/// Whether a segment is one of those.
pub(super) fn is_ranked(segment: &str) -> bool {
    segment.starts_with("ranked_")
}

/// What is the same in all runs.
pub(super) struct Site {
    /// Definitions by version; then the same with percentiles.
    pub(super) catalogs: Vec<Arc<Catalog>>,
    pub(super) schemas: Arc<SchemaSet>,
    pub(super) telemetry: Telemetry,
}

impl Site {
    /// The definitions of which a marker tells the hash.
    pub(super) fn catalog(&self, hash: u64) -> Option<&Arc<Catalog>> {
        self.catalogs.iter().find(|catalog| catalog.hash == hash)
    }
}

/// What is the same in all runs.
pub(super) fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let schemas = SchemaSet::shipped().unwrap();
        let catalog = |text: &str| {
            let files = [("set.yaml".to_owned(), text.to_owned())];
            Arc::new(load_texts(&files, schemas.schemas(), TimeZone::UTC).unwrap().catalog)
        };
        let ranked = VERSIONS.iter().zip(RANKED).map(|(text, ranked)| format!("{text}{ranked}"));
        let texts = VERSIONS.map(str::to_owned).into_iter().chain(ranked);
        let catalogs = texts.map(|text| catalog(&text)).collect();
        Site { catalogs, schemas: Arc::new(schemas), telemetry: Telemetry::new().unwrap() }
    })
}

/// Limits of the engines: time enough for everything to arrive.
pub(super) fn limits() -> Limits {
    Limits { grace_ms: 8_000, percentile_refresh_ms: 5_000, ..Limits::default() }
}
