//! What a set defines, by name: traits, segments and tiers, groups. Duplicates are found here, and unknown names are
//! answered with what was probably meant.

use hashbrown::HashMap;

use crate::engine::schema::Schemas;

use super::super::ast::Name;
use super::super::diagnostic::nearest;
use super::super::source::{Place, Problem, Text};
use super::super::spec::{Expression, GroupSpec, ProfileSpec, SegmentSpec, Spec, TraitSpec};

/// So many names can be listed where none is near.
const LISTED_NAMES: usize = 8;

/// A segment, or a tier as the segment it is.
pub(super) struct SegmentEntry<'a> {
    /// `GROUP.TIER` for a tier.
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) description: &'a str,
    pub(super) when: Option<&'a Expression>,
    pub(super) until: Option<&'a Expression>,
    pub(super) purpose: Option<&'a Text>,
    pub(super) carry: &'a [Text],
    /// For a tier: its group, and the segments of the tiers before it.
    pub(super) tier: Option<Tier<'a>>,
}

/// A tier's place in its group.
pub(super) struct Tier<'a> {
    pub(super) group: &'a GroupSpec,
    /// Positions in [`Names::segments`], first tier first.
    pub(super) earlier: Vec<usize>,
}

/// A trait by name.
#[derive(Clone, Copy)]
pub(super) enum TraitEntry<'a> {
    Profile(&'a ProfileSpec),
    /// With its position in the list of computed traits.
    Computed(usize, &'a TraitSpec),
}

/// Everything a set defines, and the event types it may use.
pub(super) struct Names<'a> {
    pub(super) schemas: &'a Schemas,
    pub(super) spec: &'a Spec,
    pub(super) traits: HashMap<&'a str, TraitEntry<'a>>,
    pub(super) segments: Vec<SegmentEntry<'a>>,
    pub(super) segment_positions: HashMap<String, usize>,
    pub(super) groups: HashMap<&'a str, &'a GroupSpec>,
}

impl<'a> Names<'a> {
    pub(super) fn new(spec: &'a Spec, schemas: &'a Schemas, problems: &mut Vec<Problem>) -> Self {
        let mut names = Self {
            schemas,
            spec,
            traits: HashMap::new(),
            segments: Vec::new(),
            segment_positions: HashMap::new(),
            groups: HashMap::new(),
        };
        names.collect_traits(problems);
        names.collect_segments(problems);
        names
    }

    fn collect_traits(&mut self, problems: &mut Vec<Problem>) {
        let spec = self.spec;
        let profile = spec.profile.iter().map(|entry| (&entry.name, TraitEntry::Profile(entry)));
        let computed = spec.traits.iter().enumerate();
        let computed = computed.map(|(position, entry)| (&entry.name, TraitEntry::Computed(position, entry)));
        for (name, entry) in profile.chain(computed).filter(|(name, _)| !name.value.is_empty()) {
            if let Some(first) = self.traits.get(name.value.as_str()) {
                problems.push(duplicate("trait", name, first.place()));
            } else {
                self.traits.insert(&name.value, entry);
            }
        }
    }

    fn collect_segments(&mut self, problems: &mut Vec<Problem>) {
        let spec = self.spec;
        let mut taken: HashMap<&str, Place> = HashMap::new();
        let segments = spec.segments.iter().map(|segment| (&segment.name, "segment"));
        let groups = spec.groups.iter().map(|group| (&group.name, "group"));
        for (name, kind) in segments.chain(groups).filter(|(name, _)| !name.value.is_empty()) {
            if let Some(first) = taken.get(name.value.as_str()) {
                problems.push(duplicate(kind, name, *first));
            } else {
                taken.insert(&name.value, name.place);
            }
        }
        for segment in &spec.segments {
            self.add(SegmentEntry::of_segment(segment));
        }
        for group in &spec.groups {
            self.groups.entry(&group.name.value).or_insert(group);
            self.collect_tiers(group, problems);
        }
    }

    fn collect_tiers(&mut self, group: &'a GroupSpec, problems: &mut Vec<Problem>) {
        let mut earlier = Vec::new();
        let mut taken: HashMap<&str, Place> = HashMap::new();
        for tier in &group.tiers {
            if let Some(first) = taken.get(tier.name.value.as_str()).filter(|_| !tier.name.value.is_empty()) {
                problems.push(duplicate("tier", &tier.name, *first));
            } else {
                taken.insert(&tier.name.value, tier.name.place);
            }
            let position = self.segments.len();
            self.add(SegmentEntry {
                name: format!("{}.{}", group.name.value, tier.name.value),
                place: tier.name.place,
                description: if tier.description.is_empty() { &group.description } else { &tier.description },
                when: tier.when.as_ref(),
                until: None,
                purpose: group.purpose.as_ref(),
                carry: &group.carry,
                tier: Some(Tier { group, earlier: earlier.clone() }),
            });
            earlier.push(position);
        }
    }

    fn add(&mut self, entry: SegmentEntry<'a>) {
        let position = self.segments.len();
        self.segment_positions.entry(entry.name.clone()).or_insert(position);
        self.segments.push(entry);
    }

    /// Names of segments and tiers.
    pub(super) fn segment_names(&self) -> Vec<&str> {
        self.segments.iter().map(|segment| segment.name.as_str()).collect()
    }

    /// What to say of a name that no trait has.
    pub(super) fn unknown_trait(&self, name: &str, place: Place) -> Problem {
        let problem = Problem::new("unknown-trait", place, format!("there is no trait `{name}`"));
        if self.segment_positions.contains_key(name) {
            return problem.help(format!("it is a segment: `segment(\"{name}\")`"));
        }
        match nearest(name, self.traits.keys().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("declare it under `profile:` or compute it under `traits:`"),
        }
    }

    /// What to say of a name that no segment has.
    pub(super) fn unknown_segment(&self, name: &str, place: Place) -> Problem {
        if self.groups.contains_key(name) || !self.traits.contains_key(name) {
            return unknown_segment(name, place, self.segments.iter().map(|segment| segment.name.as_str()));
        }
        Problem::new("unknown-segment", place, format!("there is no segment `{name}`"))
            .help(format!("it is a trait: `trait.{name}`"))
    }

    /// What to say of a name that no event type has.
    pub(super) fn unknown_event(&self, name: &Name, place: Place) -> Problem {
        let wanted = &name.node;
        let problem = Problem::new("unknown-event", place, format!("there is no event type `{wanted}`"));
        if let Some(near) = nearest(wanted, self.schemas.events.keys().map(String::as_str)) {
            return problem.help(format!("did you mean `{near}`?"));
        }
        match wanted.as_str() {
            "profile" => problem.help("profile records are not events; ask for their traits: `trait.NAME`"),
            "consent" => problem.help("consent records are not events; give the segment a `purpose`"),
            "erasure" => problem.help("erasures are not events; who is erased is in no segment"),
            _ if self.segment_positions.contains_key(wanted) => {
                problem.help(format!("it is a segment: `segment(\"{wanted}\")`"))
            }
            _ => {
                let known: Vec<&str> = self.schemas.events.keys().map(String::as_str).collect();
                problem.help(format!("event types are `{}`", known.join("`, `")))
            }
        }
    }
}

impl<'a> SegmentEntry<'a> {
    fn of_segment(segment: &'a SegmentSpec) -> Self {
        Self {
            name: segment.name.value.clone(),
            place: segment.name.place,
            description: &segment.description,
            when: segment.when.as_ref(),
            until: segment.until.as_ref(),
            purpose: segment.purpose.as_ref(),
            carry: &segment.carry,
            tier: None,
        }
    }
}

impl TraitEntry<'_> {
    fn place(&self) -> Place {
        match self {
            Self::Profile(entry) => entry.name.place,
            Self::Computed(_, entry) => entry.name.place,
        }
    }
}

fn duplicate(kind: &str, name: &Text, first: Place) -> Problem {
    let help = match kind {
        "trait" => "profile and computed traits share one set of names: rename one of the two",
        "tier" => "tiers of one group have different names: rename one of the two",
        _ => "segments and groups share one set of names: rename one of the two",
    };
    Problem::new("duplicate-name", name.place, format!("the {kind} name `{}` is taken", name.value))
        .also(first, "first used at")
        .help(help)
}

/// What to say of a name that no segment among `names` has.
pub(in crate::definition) fn unknown_segment<'n>(
    name: &str,
    place: Place,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Problem {
    let tiers: Vec<&str> =
        names.clone().filter(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))).collect();
    if !tiers.is_empty() {
        let message = format!("`{name}` is a group, not a segment");
        let help = format!("its tiers are segments: `{}`", tiers.join("`, `"));
        return Problem::new("unknown-segment", place, message).help(help);
    }
    let problem = Problem::new("unknown-segment", place, format!("there is no segment `{name}`"));
    if let Some(near) = nearest(name, names.clone()) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    let ending = format!(".{name}");
    match names.clone().find(|other| other.ends_with(&ending)) {
        Some(tier) => problem.help(format!("a tier is named with its group: `{tier}`")),
        None => match listed(names).as_slice() {
            [] => problem,
            [only] => problem.help(format!("there is only `{only}`")),
            names => problem.help(format!("there are `{}`", names.join("`, `"))),
        },
    }
}

/// Each name once, where there are few enough to be listed.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut listed: Vec<&str> = Vec::new();
    for name in names {
        if listed.contains(&name) {
            continue;
        }
        if listed.len() == LISTED_NAMES {
            return Vec::new();
        }
        listed.push(name);
    }
    listed
}
