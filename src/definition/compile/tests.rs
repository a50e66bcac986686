//! What good definitions compile to: what is shared, what feeds what, and which fields are read.

use jiff::tz::TimeZone;

use super::super::{Definitions, load_texts};
use crate::engine::catalog::{
    Aggregate, Catalog, EventType, FieldExpr, Function, Node, NodeId, Op, Relation, Side, Target, Window,
};
use crate::engine::schema::{EventSchema, Field, FieldType, Schemas};
use crate::engine::value::{Type, Value};

fn field(name: &str, field_type: FieldType) -> Field {
    Field { name: name.to_owned(), field_type, doc: None }
}

fn event(name: &str, fields: Vec<Field>) -> (String, EventSchema) {
    let text = || FieldType::Scalar(Type::Text);
    let envelope = [
        field("event_id", text()),
        field("customer_id", text()),
        field("occurred_at", FieldType::Scalar(Type::Instant)),
    ];
    (name.to_owned(), EventSchema { name: name.to_owned(), fields: envelope.into_iter().chain(fields).collect() })
}

fn schemas() -> Schemas {
    let text = || FieldType::Scalar(Type::Text);
    let number = || FieldType::Scalar(Type::Number);
    let item = FieldType::Record(vec![
        field("category", text()),
        field("price", number()),
        field("tags", FieldType::Array(Box::new(text()))),
        field("parts", FieldType::Array(Box::new(FieldType::Record(vec![field("weight", number())])))),
    ]);
    let purchase = vec![
        field("cart_id", text()),
        field("total", number()),
        field("address", FieldType::Record(vec![field("city", text())])),
        field("items", FieldType::Array(Box::new(item))),
    ];
    let click = vec![field("page", text()), field("category", text()), field("cart_id", text())];
    Schemas { events: [event("click", click), event("purchase", purchase)].into() }
}

#[track_caller]
fn load(text: &str) -> Definitions {
    let files = [("set.yaml".to_owned(), text.to_owned())];
    match load_texts(&files, &schemas(), TimeZone::get("Europe/Zurich").unwrap()) {
        Ok(definitions) => definitions,
        Err(diagnostics) => {
            let messages: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", messages.join("\n\n"))
        }
    }
}

/// The catalog of segments `s0`, `s1` … with these conditions.
#[track_caller]
fn compile(conditions: &[&str]) -> Catalog {
    let segments = conditions.iter().enumerate();
    let segments: Vec<String> =
        segments.map(|(number, when)| format!("  - name: s{number}\n    when: |\n      {when}\n")).collect();
    load(&format!("segments:\n{}", segments.concat())).catalog
}

fn event_type<'c>(catalog: &'c Catalog, name: &str) -> &'c EventType {
    &catalog.event_types[catalog.event_type_ids[name].index()]
}

fn node(catalog: &Catalog, id: NodeId) -> &Node {
    &catalog.nodes[id.index()]
}

fn aggregate<'c>(catalog: &'c Catalog, text: &str) -> &'c Aggregate {
    let texts: Vec<&str> = catalog.aggregates.iter().map(|aggregate| &*aggregate.text).collect();
    catalog
        .aggregates
        .iter()
        .find(|aggregate| &*aggregate.text == text)
        .unwrap_or_else(|| panic!("{text} in {texts:?}"))
}

#[test]
fn what_is_written_alike_is_one_thing() {
    let catalog = compile(&[
        "sum(purchase.total where total > 5 over 30d) >= 100 and did(click)",
        "SUM( purchase.total WHERE total > 5.0 OVER 4w2d ) >= 100 and count(click) >= 1",
        "sum(purchase.total where total > 5 over 30d) >= 200 or did(purchase where total > 5)",
    ]);
    let texts: Vec<&str> = catalog.aggregates.iter().map(|aggregate| &*aggregate.text).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(catalog.filters.len(), 1);
    assert_eq!(event_type(&catalog, "purchase").feeds.len(), 2);
    assert_eq!(event_type(&catalog, "click").feeds.len(), 1);
    let count = aggregate(&catalog, "count(click)");
    assert_eq!((count.function, count.window), (Function::Count, Window::Ever));
}

#[test]
fn operands_come_before_what_uses_them() {
    let catalog = compile(&["(count(click over 1d) + 2) * 3 > 4 and not did(purchase over 30d) for 7d"]);
    for (position, node) in catalog.nodes.iter().enumerate() {
        assert!(node.op.operands().all(|operand| operand.index() < position), "{node:?}");
    }
    let hold = &catalog.holds[0];
    assert_eq!((hold.duration_ms, &*node(&catalog, hold.condition).text), (7 * 86_400_000, "did(purchase over 30d)"));
}

#[test]
fn did_is_a_count_of_at_least_one() {
    let catalog = compile(&["did(click over 1h)"]);
    let segment = &catalog.segments[0];
    let when = node(&catalog, segment.when);
    assert_eq!(&*when.text, "did(click over 1h)");
    let Op::Compare(_, left, right) = when.op else { panic!("{when:?}") };
    assert_eq!(&*node(&catalog, left).text, "count(click over 1h)");
    assert_eq!(node(&catalog, right).op, Op::Constant(Value::Number(1.into())));
}

#[test]
fn fields_are_read_where_they_are_named_and_nowhere_else() {
    let catalog = compile(&[
        "last(purchase.address.city) = \"Bern\" and last(purchase.items.category) contains \"shoes\"",
        "sum(each purchase.items.price where category = \"shoes\" and occurred_at > 2026-01-01 over 90d) > 5",
        "distinct(each purchase.items.tags) > 2 and sum(each purchase.items.parts.weight) > 3",
    ]);
    let projection = &event_type(&catalog, "purchase").projection;
    let fields: Vec<(String, String)> =
        projection.fields.iter().map(|field| (field.path.join("."), field.value_type.to_string())).collect();
    let expected = [("address.city", "text"), ("items.category", "list of text")];
    assert_eq!(fields, expected.map(|(path, kind)| (path.to_owned(), kind.to_owned())));
    let arrays: Vec<String> = projection
        .arrays
        .iter()
        .map(|array| {
            let fields: Vec<String> = array.fields.iter().map(|field| field.path.join(".")).collect();
            format!("{}: {}", array.path.join("."), fields.join(" "))
        })
        .collect();
    assert_eq!(arrays, ["items: price category occurred_at tags", "items.parts: weight"]);
    assert_eq!(aggregate(&catalog, "last(purchase.items.category)").value_type, Type::List(Box::new(Type::Text)));
    assert!(event_type(&catalog, "click").feeds.is_empty());
}

#[test]
fn a_date_is_midnight_in_the_configured_zone() {
    let catalog = compile(&["did(click where occurred_at >= 2026-07-01 since 2026-01-01)"]);
    // Zurich is an hour ahead of UTC in winter, two in summer.
    let FieldExpr::Compare(_, _, right) = &catalog.filters[0].condition else { panic!("{:?}", catalog.filters) };
    assert_eq!(**right, FieldExpr::Constant(Value::Instant(1_782_856_800_000)));
    assert_eq!(catalog.aggregates[0].window, Window::Since { instant: 1_767_222_000_000 });
}

/// Which people write for "never", and whose midnight the library that knows time zones does not reach.
#[test]
fn the_last_day_there_is_begins_at_its_midnight() {
    let catalog = compile(&["now < 9999-12-31", "now < 9999-12-30T23:00:00Z"]);
    let constants = catalog.nodes.iter().filter_map(|node| match &node.op {
        Op::Constant(Value::Instant(instant)) => Some(*instant),
        _ => None,
    });
    let constants: Vec<i64> = constants.collect();
    assert!(!constants.is_empty() && constants.iter().all(|instant| *instant == constants[0]), "{constants:?}");
}

#[test]
fn an_anchor_comes_before_what_is_since_it() {
    let catalog =
        compile(&["count(click since last(purchase where total > 5)) > 3 and last(purchase where total > 5) is known"]);
    assert_eq!(catalog.aggregates.len(), 2);
    let Window::SinceAnchor { anchor } = catalog.aggregates[1].window else { panic!("{:?}", catalog.aggregates) };
    assert_eq!(anchor.index(), 0);
    let anchor = &catalog.aggregates[0];
    assert_eq!((anchor.function, anchor.window, &anchor.value_type), (Function::Last, Window::Ever, &Type::Instant));
}

/// Each feed of an event type as text: what it gives to which side of which pattern, with the names of its keys.
fn steps(catalog: &Catalog, name: &str) -> Vec<String> {
    let event_type = event_type(catalog, name);
    let describe = |target: &Target| match target {
        Target::Aggregate { aggregate, .. } => format!("aggregate {}", aggregate.index()),
        Target::Step { pattern, side, keys } => {
            let names = keys.iter().map(|slot| event_type.projection.fields[*slot].path.join("."));
            format!("{} {side:?} {}", pattern.index(), names.collect::<Vec<_>>().join(","))
        }
    };
    event_type.feeds.iter().map(|feed| describe(&feed.target)).collect()
}

#[test]
fn a_pattern_is_fed_by_its_steps_and_feeds_its_count() {
    let catalog = compile(&["did(click without purchase on cart_id within 1h over 7d)"]);
    let pattern = &catalog.patterns[0];
    assert_eq!((pattern.relation, pattern.duration_ms, pattern.on), (Relation::Without, 3_600_000, true));
    assert!(matches!(pattern.targets.as_slice(), [Target::Aggregate { slot: None, .. }]));
    assert_eq!(steps(&catalog, "click"), ["0 A cart_id"]);
    assert_eq!(steps(&catalog, "purchase"), ["0 B cart_id"]);
}

#[test]
fn after_is_written_the_other_way_round() {
    let catalog = compile(&["did(purchase after 30d without click on cart_id = page)"]);
    assert_eq!(catalog.patterns[0].relation, Relation::After);
    assert_eq!(steps(&catalog, "purchase"), ["0 B cart_id"]);
    assert_eq!(steps(&catalog, "click"), ["0 A page"]);
}

#[test]
fn the_base_of_an_inner_pattern_carries_the_keys_of_those_around_it() {
    let catalog = compile(&[
        "did((click then click on page within 1h) without purchase on category = cart_id within 1d)",
        "did((click then click on page within 1h) then purchase within 1d)",
    ]);
    // The inner pattern carries another key in the first than in the second, so there are two of it.
    let relations: Vec<Relation> = catalog.patterns.iter().map(|pattern| pattern.relation).collect();
    assert_eq!(relations, [Relation::Then, Relation::Without, Relation::Then, Relation::Then]);
    assert_eq!(
        steps(&catalog, "click"),
        ["0 A page", "0 B page,category", "2 A page", "2 B page"],
        "the second step of `then` gives a match its fields"
    );
    assert_eq!(steps(&catalog, "purchase"), ["1 B cart_id", "3 B "]);
    assert_eq!(
        catalog.patterns[0].targets,
        [Target::Step { pattern: crate::engine::catalog::PatternId(1), side: Side::A, keys: vec![] }]
    );
    let keys: std::collections::HashSet<u64> = catalog.patterns.iter().map(|pattern| pattern.key).collect();
    assert_eq!(keys.len(), 4);
}

const LOYALTY: &str = "
groups:
  - name: loyalty
    purpose: marketing
    tiers:
      - {name: gold, when: sum(purchase.total) >= 1000}
      - {name: silver, when: sum(purchase.total) >= 300}
segments:
  - {name: asks, when: 'segment(\"loyalty.silver\") and trait.often', carry: [often, level]}
  - {name: lasting, when: did(click), until: did(purchase), purpose: marketing}
traits:
  - {name: often, value: count(click over 30d) > 5}
profile:
  - {name: level, type: number}
";

#[test]
fn membership_holds_consent_and_the_tiers_before() {
    let catalog = load(LOYALTY).catalog;
    let text = |name: &str| {
        let segment = &catalog.segments[catalog.segment_ids[name].index()];
        let until = segment.ending.map(|until| node(&catalog, until).text.to_string());
        (node(&catalog, segment.when).text.to_string(), until)
    };
    assert_eq!(text("loyalty.gold").0, "sum(purchase.total) >= 1000 and consent(\"marketing\")");
    assert_eq!(
        text("loyalty.silver").0,
        "sum(purchase.total) >= 300 and consent(\"marketing\") and not sum(purchase.total) >= 1000"
    );
    let (when, until) = text("lasting");
    assert_eq!(when, "did(click) and consent(\"marketing\")");
    assert_eq!(until.unwrap(), "did(purchase) or not consent(\"marketing\")");
    assert_eq!(catalog.purposes.len(), 1);
    assert_eq!(catalog.aggregates.iter().filter(|aggregate| aggregate.function == Function::Sum).count(), 1);
    assert_eq!(catalog.groups[0].tiers.len(), 2);
}

#[test]
fn who_is_asked_about_comes_first_and_traits_are_written_out() {
    let catalog = load(LOYALTY).catalog;
    let position = |name: &str| catalog.segment_ids[name].index();
    assert!(position("loyalty.gold") < position("loyalty.silver"));
    assert!(position("loyalty.silver") < position("asks"));
    let asks = &catalog.segments[position("asks")];
    assert_eq!(&*node(&catalog, asks.when).text, "segment(\"loyalty.silver\") and count(click over 30d) > 5");
    assert_eq!(asks.when_text, "segment(\"loyalty.silver\") and trait.often");
    let carried: Vec<&str> = asks.carry.iter().map(|(_, id)| &*node(&catalog, *id).text).collect();
    assert_eq!(carried, ["count(click over 30d) > 5", "trait.level"]);
}

#[test]
fn a_definition_changes_with_all_it_depends_on_and_with_nothing_else() {
    let hash = |text: &str, name: &str| {
        let catalog = load(text).catalog;
        catalog.segments[catalog.segment_ids[name].index()].definition.clone()
    };
    let same = LOYALTY.replace("sum(purchase.total) >= 300", "SUM(purchase.total)   >= 300.0");
    let other_tier = LOYALTY.replace(">= 1000", ">= 2000");
    let other_trait = LOYALTY.replace("> 5}", "> 6}");
    for name in ["loyalty.gold", "loyalty.silver", "asks", "lasting"] {
        assert_eq!(hash(LOYALTY, name), hash(&same, name), "{name}");
        assert_eq!(hash(LOYALTY, name).len(), 8);
        assert_eq!(hash(LOYALTY, name) != hash(&other_tier, name), name != "lasting", "{name}");
        assert_eq!(hash(LOYALTY, name) != hash(&other_trait, name), name == "asks", "{name}");
    }
    assert_ne!(load(LOYALTY).catalog.hash, load(&other_trait).catalog.hash);
    assert_eq!(load(LOYALTY).catalog.hash, load(&same).catalog.hash);
}

#[test]
fn traits_of_traits_that_explode_are_refused() {
    let mut text = "traits:\n  - {name: t0, value: count(click)}\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        text.push_str(
            &[
                "  - {name: t",
                &level.to_string(),
                ", value: trait.t",
                &below.to_string(),
                " + trait.t",
                &below.to_string(),
                "}\n",
            ]
            .concat(),
        );
    }
    let problems = load_texts(&[("set.yaml".to_owned(), text)], &schemas(), TimeZone::UTC).unwrap_err();
    assert!(problems[0].message.contains("too large"), "{}", problems[0]);
}

#[test]
fn tests_become_records_that_a_replay_could_read() {
    let text = "
segments:
  - {name: s, when: did(purchase)}
tests:
  - name: exact numbers
    events:
      - {at: 2026-01-01T10:00:00Z, type: purchase, total: 19.90, cart_id: '7', items: [{price: 1e2, category: null}]}
      - {at: 1767261600000, type: purchase, customer_id: anna, event_id: test-1}
      - {at: 2026-01-01, type: consent, purpose: marketing, granted: true}
    expect:
      - {at: 2026-01-02T00:00:00Z, customer: anna, in: [s]}
      - {at: 2026-01-02T00:00:00Z, out: [s]}
    changes:
      - {at: 2026-01-01T10:00:00Z, segment: s, change: entered}
";
    let tests = load(text).tests;
    let test = &tests[0];
    assert_eq!((test.name.as_str(), test.file.as_str(), test.line), ("exact numbers", "set.yaml", 5));
    assert_eq!(
        test.events[0].json.to_string(),
        r#"{"cart_id":"7","customer_id":"customer","event_id":"test-2","items":[{"category":null,"price":1e+2}],"occurred_at":1767261600000,"total":19.90,"type":"purchase"}"#
    );
    let rest: Vec<(&str, i64, usize)> =
        test.events.iter().skip(1).map(|event| (event.customer.as_str(), event.occurred_at, event.line)).collect();
    assert_eq!(rest, [("anna", 1_767_261_600_000, 8), ("customer", 1_767_222_000_000, 9)]);
    assert_eq!(test.expect[0].inside, ["s"]);
    assert_eq!((test.expect[1].customer.as_str(), &test.expect[1].outside[..]), ("customer", &["s".to_owned()][..]));
    assert!(test.changes.as_ref().unwrap()[0].entered);
}
