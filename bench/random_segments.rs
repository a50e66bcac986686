//! Segments by the thousand: random thresholds, windows of an hour to a year, filters on category, brand and campaign.

use std::fmt::Write as _;

use crate::chance::Chance;

const WINDOWS: [&str; 8] = ["1h", "6h", "1d", "7d", "30d", "90d", "180d", "365d"];
const CATEGORIES: [&str; 8] = ["running", "shoes", "jackets", "bags", "phones", "books", "garden", "food"];

/// A definition file with so many segments.
pub(crate) fn definitions(count: usize) -> String {
    let mut chance = Chance::new(7);
    let mut page = String::from("segments:\n");
    for number in 0..count {
        let condition = match chance.below(10) {
            0 | 1 => clicks(&mut chance, 0),
            2 | 3 => clicks(&mut chance, 1),
            4..=6 => clicks(&mut chance, 2),
            7 => format!("sum(purchase.total over {}) >= {}", window(&mut chance), 10 + chance.below(2_000)),
            8 => format!("count(purchase over {}) >= {}", window(&mut chance), 1 + chance.below(20)),
            _ => {
                let bought = format!("did(purchase over {})", window(&mut chance));
                format!("{} and not {bought}", clicks(&mut chance, 0))
            }
        };
        let _ = writeln!(page, "  - {{name: random_{number}, when: '{condition}'}}");
    }
    page
}

fn window(chance: &mut Chance) -> &'static str {
    chance.one_of(&WINDOWS)
}

/// So many clicks of a category, a brand or a campaign.
fn clicks(chance: &mut Chance, by: u32) -> String {
    let filter = match by {
        0 => format!("category = \"{}\"", chance.one_of(&CATEGORIES)),
        1 => format!("brand = \"brand-{:02}\"", chance.below(60)),
        _ => format!("utm_campaign = \"campaign-{}\"", chance.below(500)),
    };
    format!("count(click where {filter} over {}) >= {}", window(chance), 1 + chance.below(12))
}
