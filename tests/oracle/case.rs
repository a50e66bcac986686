//! One random case: definitions, records and settings, reproducible from a seed and printable for pasting.

use std::fmt;

use serde_json::Value as Json;

use crate::calendar::parse_instant;
use crate::definitions::Set;
use crate::events::history;
use crate::generate::generate;
use crate::print::{file, rfc3339};
use crate::random::Random;
use crate::record::Schemas;
use crate::replay::{Change, Settings, World, replay};
use crate::vocabulary::ZONES;

const HOUR_MS: i64 = 3_600_000;

/// What both sides are given.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) set: Set,
    pub(crate) schemas: Schemas,
    pub(crate) lines: Vec<Json>,
    pub(crate) settings: Settings,
}

impl Case {
    /// The case of a seed.
    pub(crate) fn of_seed(seed: u64, schemas: &Schemas) -> Self {
        let mut random = Random::new(seed);
        let (zone, days) = *random.pick(&ZONES);
        let base = parse_instant(random.word(days), &jiff::tz::TimeZone::UTC).expect("an instant");
        let base = base + *random.pick(&[0, 0, -1, 1, 3_600_000, 86_400_000]);
        let generated = generate(&mut random, schemas, base);
        let (lines, end) = history(&mut random, schemas, &generated, base);
        let settings = Settings {
            grace_ms: *random.pick(&[0, 0, 0, 1000, 3_600_000]),
            allowed_lateness_ms: *random.pick(&[86_400_000, 86_400_000, 3_600_000]),
            dedup_ids: 256,
            dedup_window_ms: *random.pick(&[86_400_000, 86_400_000, 3_600_000]),
            zone: zone.to_owned(),
            until: random.percent(80).then_some(end),
            percentile_refresh_ms: (*random.pick(&[HOUR_MS, HOUR_MS, 24 * HOUR_MS, 7 * 24 * HOUR_MS]))
                .max((end - base) / 300),
        };
        Self { set: generated.set, schemas: schemas.clone(), lines, settings }
    }

    /// What the oracle says.
    pub(crate) fn expected(&self) -> Vec<Change> {
        let world = World::new(self.set.clone(), self.schemas.clone(), self.settings.clone());
        replay(&world, &self.lines)
    }

    /// The records as JSON lines.
    pub(crate) fn events(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(ToString::to_string).collect();
        lines.join("\n") + "\n"
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { grace_ms, allowed_lateness_ms, dedup_ids, dedup_window_ms, zone, until, percentile_refresh_ms } =
            &self.settings;
        let until = until.map(rfc3339).unwrap_or_default();
        writeln!(
            f,
            "# settings: timezone={zone} grace={grace_ms} allowed_lateness={allowed_lateness_ms} dedup_ids={dedup_ids} \
             dedup_window={dedup_window_ms} percentile_refresh={percentile_refresh_ms} until={until}"
        )?;
        write!(f, "{}---\n{}", file(&self.set), self.events())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { customer, sequence, at, entered, segment, cause, traits } = self;
        let change = if *entered { "entered" } else { "left" };
        write!(f, "{customer} {sequence} {} {change} {segment} ({cause})", rfc3339(*at))?;
        traits.iter().try_for_each(|(name, value)| write!(f, " {name}={value:?}"))
    }
}
