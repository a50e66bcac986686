//! What the demo's shop sells, and to whom.

/// Something to buy.
#[derive(Debug, PartialEq)]
pub(super) struct Article {
    pub(super) id: &'static str,
    pub(super) category: &'static str,
    pub(super) brand: &'static str,
    pub(super) cents: u64,
}

impl Article {
    /// Whether it is to the taste of customers with this number.
    pub(super) fn suits(&self, taste: usize) -> bool {
        self.category.len() % 3 == taste % 3
    }
}

const fn article(id: &'static str, category: &'static str, brand: &'static str, cents: u64) -> Article {
    Article { id, category, brand, cents }
}

pub(super) const ARTICLES: &[&Article] = &[
    &article("trail-shoe-7", "running", "Fellpfad", 12_990),
    &article("road-shoe-3", "running", "Asphalt & Co", 10_950),
    &article("running-vest", "running", "Fellpfad", 5_995),
    &article("head-torch", "outdoor", "Glimm", 4_490),
    &article("tent-2p", "outdoor", "Weitblick", 24_900),
    &article("rain-jacket", "outdoor", "Weitblick", 15_900),
    &article("sleeping-mat", "outdoor", "Glimm", 6_900),
    &article("sneaker-low", "shoes", "Gassenlauf", 7_995),
    &article("hiking-boot", "shoes", "Weitblick", 18_950),
    &article("waxing-kit", "shoe_care", "Glanzwerk", 1_490),
    &article("brush-set", "shoe_care", "Glanzwerk", 990),
    &article("city-bike", "cycling", "Radlos", 64_900),
    &article("bike-lock", "cycling", "Radlos", 5_990),
    &article("bike-helmet", "cycling", "Oberkopf", 8_490),
    &article("yoga-mat", "fitness", "Ruhepol", 3_990),
    &article("kettlebell-12", "fitness", "Ruhepol", 4_990),
];

pub(super) const SEARCHES: &[&str] =
    &["waterproof shoes", "tent for two", "light jacket", "gift for a runner", "size 43"];

/// Who never asks to be forgotten, so that there is somebody to be shown.
pub(super) const REGULAR: &str = "ada";

pub(super) const CUSTOMERS: &[&str] = &[
    REGULAR, "amir", "anouk", "bela", "bruno", "carla", "chidi", "dana", "dmitri", "elif", "emil", "esther", "farah",
    "felix", "finja", "georg", "grace", "hanna", "hugo", "ines", "ivan", "jana", "jonas", "kadir", "karla", "kofi",
    "lale", "leon", "lucia", "maja", "malik", "mira", "nadia", "nils", "olga", "omar", "paula", "quentin", "rosa",
    "samir", "selma", "tariq", "thea", "ulla", "viktor", "wanda", "yara", "zeno",
];
