//! Segments by the thousand: random thresholds, windows of an hour to a year, filters on category, brand and campaign.

use std::fmt::Write as _;

use crate::chance::Chance;

/// Hours of a year.
const YEAR: u64 = 8_760;
const CATEGORIES: [&str; 8] = ["running", "shoes", "jackets", "bags", "phones", "books", "garden", "food"];

/// A definition file with so many segments, of which nearly each has a window of its own. The less the greatest threshold
/// is, the more of what happens to customers crosses one.
pub(crate) fn definitions(count: usize, greatest: u64) -> String {
    let mut chance = Chance::new(7);
    let mut page = String::from("segments:\n");
    for number in 0..count {
        let condition = match chance.below(10) {
            0 | 1 => clicks(&mut chance, 0, greatest),
            2 | 3 => clicks(&mut chance, 1, greatest),
            4..=6 => clicks(&mut chance, 2, greatest),
            7 => {
                let total = 1 + chance.below(200 * greatest);
                format!("sum(purchase.total over {}) >= {total}", window(&mut chance))
            }
            8 => format!("count(purchase over {}) >= {}", window(&mut chance), 1 + chance.below(greatest)),
            _ => {
                let bought = format!("count(purchase over {}) >= {}", window(&mut chance), 1 + chance.below(greatest));
                format!("{} and not {bought}", clicks(&mut chance, 0, greatest))
            }
        };
        let _ = writeln!(page, "  - {{name: random_{number}, when: '{condition}'}}");
    }
    page
}

/// As many short ones as long ones.
fn window(chance: &mut Chance) -> String {
    let doublings = chance.below(14);
    let hours = (1 << doublings) + chance.below(1 << doublings);
    format!("{}h", hours.min(YEAR))
}

/// So many clicks of a category, a brand or a campaign.
fn clicks(chance: &mut Chance, by: u32, greatest: u64) -> String {
    let filter = match by {
        0 => format!("category = \"{}\"", chance.one_of(&CATEGORIES)),
        1 => format!("brand = \"brand-{:02}\"", chance.below(60)),
        _ => format!("utm_campaign = \"campaign-{}\"", chance.below(500)),
    };
    format!("count(click where {filter} over {}) >= {}", window(chance), 1 + chance.below(greatest))
}
