//! Schemas: what they accept, and how products go over to them.

use common::{Currency, Money, Sku};
use proptest::prelude::*;

use super::*;
use crate::domain::assortment::Assortment;
use crate::domain::price::PriceList;
use crate::domain::product::{CategoryPath, Variant};

fn declared(key: &str, kind: Kind) -> Declared {
    Declared { key: key.to_owned(), kind, required: false, per_variant: false, formerly: None, default: None }
}

fn schema(attributes: Vec<Declared>) -> Schema {
    Schema { family: Family::Gadget, version: 2, attributes, open: false }
}

fn attribute(key: &str, value: &str, unit: Option<&str>) -> Attribute {
    Attribute { key: key.to_owned(), value: value.to_owned(), unit: unit.map(str::to_owned) }
}

fn product(attributes: Vec<Attribute>) -> Product {
    Product {
        sku: Sku::parse("A").unwrap(),
        family: Family::Gadget,
        schema: 1,
        category: CategoryPath::parse("a").unwrap(),
        brand: "x".to_owned(),
        texts: Vec::new(),
        prices: PriceList::new([Money::from_minor(1, Currency::Eur).unwrap()]).unwrap(),
        attributes,
        options: Vec::new(),
        images: Vec::new(),
        assortment: Assortment::everywhere(),
        variants: Vec::new(),
    }
}

fn pointers(schema: &Schema, product: &Product) -> Vec<String> {
    schema.faults(product, "").into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn each_type_of_attribute_takes_its_own_values() {
    let number = Kind::Number { unit: Some("mm".to_owned()) };
    let schema = schema(vec![
        declared("width", number),
        declared("count", Kind::Number { unit: None }),
        declared("wireless", Kind::Flag),
        declared("colour", Kind::OneOf(vec!["red".to_owned(), "blue".to_owned()])),
        declared("note", Kind::Text),
    ]);
    let table = [
        (attribute("width", "27.5", Some("mm")), None),
        (attribute("width", "-3", Some("mm")), None),
        (attribute("width", "27.5", Some("cm")), Some("/attributes/0/unit")),
        (attribute("width", "27.5", None), Some("/attributes/0/unit")),
        (attribute("width", "wide", Some("mm")), Some("/attributes/0/value")),
        (attribute("width", "1e3", Some("mm")), Some("/attributes/0/value")),
        (attribute("width", ".5", Some("mm")), Some("/attributes/0/value")),
        (attribute("width", "5_000", Some("mm")), Some("/attributes/0/value")),
        (attribute("count", "7", None), None),
        (attribute("count", "7", Some("x")), Some("/attributes/0/unit")),
        (attribute("wireless", "yes", None), None),
        (attribute("wireless", "maybe", None), Some("/attributes/0/value")),
        (attribute("colour", "red", None), None),
        (attribute("colour", "Red", None), Some("/attributes/0/value")),
        (attribute("note", "whatever", None), None),
        (attribute("unheard_of", "x", None), Some("/attributes/0/key")),
    ];
    for (attribute, expected) in table {
        let found = pointers(&schema, &product(vec![attribute.clone()]));
        assert_eq!(found.first().map(String::as_str), expected, "{attribute:?}");
    }
    let open = Schema { open: true, ..schema };
    assert!(pointers(&open, &product(vec![attribute("unheard_of", "x", None)])).is_empty());
}

#[test]
fn what_tells_variants_apart_is_told_of_each_of_them() {
    let size = Declared { required: true, per_variant: true, ..declared("size", Kind::Text) };
    let weight = Declared { required: true, ..declared("weight", Kind::Number { unit: Some("g".to_owned()) }) };
    let schema = schema(vec![size, weight]);
    let weighed = || attribute("weight", "5", Some("g"));
    let sized = |sku: &str, attributes: Vec<Attribute>| Variant {
        sku: Sku::parse(sku).unwrap(),
        attributes,
        prices: None,
        images: Vec::new(),
    };
    assert_eq!(pointers(&schema, &product(vec![weighed()])), ["/attributes"], "without variants the product tells it");
    let mut with_variants = product(vec![weighed()]);
    with_variants.variants = vec![sized("A-S", vec![attribute("size", "S", None)]), sized("A-L", Vec::new())];
    assert_eq!(pointers(&schema, &with_variants), ["/variants/1/attributes"]);
    with_variants.attributes.push(attribute("size", "S", None));
    with_variants.variants[1].attributes = vec![attribute("size", "L", None), weighed()];
    assert_eq!(pointers(&schema, &with_variants), ["/attributes/1/key", "/variants/1/attributes/1/key"]);
}

#[test]
fn a_schema_that_contradicts_itself_is_refused() {
    let one = |own: Declared| schema(vec![own]);
    let table = [
        (one(declared("$set", Kind::Text)), "/attributes/0/key"),
        (schema(vec![declared("a", Kind::Text), declared("a", Kind::Flag)]), "/attributes/1/key"),
        (one(Declared { formerly: Some("a".to_owned()), ..declared("a", Kind::Text) }), "/attributes/0/formerly"),
        (one(declared("a", Kind::OneOf(Vec::new()))), "/attributes/0/values"),
        (one(declared("a", Kind::OneOf(vec!["x".to_owned(), "x".to_owned()]))), "/attributes/0/values"),
        (one(Declared { default: Some("perhaps".to_owned()), ..declared("a", Kind::Flag) }), "/attributes/0/default"),
        (schema((0..101).map(|number| declared(&format!("k{number}"), Kind::Text)).collect()), "/attributes"),
    ];
    for (schema, pointer) in table {
        let faults = schema.check().unwrap_err();
        assert_eq!(faults[0].pointer, pointer);
    }
}

#[test]
fn a_product_goes_over_with_its_values_in_the_one_spelling() {
    let schema = schema(vec![
        Declared {
            formerly: Some("breadth".to_owned()),
            ..declared("width", Kind::Number { unit: Some("mm".to_owned()) })
        },
        declared("wireless", Kind::Flag),
        declared("colour", Kind::OneOf(vec!["Red".to_owned()])),
        Declared { required: true, default: Some("EU".to_owned()), ..declared("plug", Kind::Text) },
    ]);
    let old = product(vec![
        attribute("breadth", "27,5 mm", None),
        attribute("wireless", "True", None),
        attribute("colour", "RED", None),
    ]);
    let new = schema.adopt(&old).unwrap();
    assert_eq!(new.schema, 2);
    assert_eq!(
        new.attributes,
        [
            attribute("width", "27.5", Some("mm")),
            attribute("wireless", "yes", None),
            attribute("colour", "Red", None),
            attribute("plug", "EU", None),
        ]
    );
    let stubborn = product(vec![attribute("breadth", "27.5", Some("cm"))]);
    assert_eq!(schema.adopt(&stubborn).unwrap_err()[0].pointer, "/attributes/0/unit");
}

#[test]
fn versions_stand_side_by_side() {
    let all = Schemas::of([schema(vec![declared("a", Kind::Text)]), Schema { version: 3, ..schema(Vec::new()) }]);
    assert_eq!(all.versions(Family::Gadget).iter().map(|own| own.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((all.newest(Family::Gadget).version, all.newest(Family::General).version), (3, 1));
    assert_eq!(all.adopt(&product(Vec::new())).map(|product| product.schema), Some(3));
    assert_eq!(all.adopt(&product(vec![attribute("a", "x", None)])), None, "what cannot go over stays");
    assert_eq!(all.adopt(&Product { schema: 3, ..product(Vec::new()) }), None);
}

#[test]
fn a_rename_over_two_versions_is_followed_from_either_of_them() {
    let renamed = |version: u32, key: &str, formerly: &str, open: bool| {
        let kind = Kind::Number { unit: Some("mm".to_owned()) };
        let declared = Declared { formerly: Some(formerly.to_owned()), ..declared(key, kind) };
        Schema { version, open, ..schema(vec![declared]) }
    };
    for open in [false, true] {
        let all = Schemas::of([renamed(3, "depth", "breadth", open), renamed(2, "breadth", "width", open)]);
        for (version, key) in [(1, "width"), (2, "breadth")] {
            let old = Product { schema: version, ..product(vec![attribute(key, "5 mm", None)]) };
            let new = all.adopt(&old).unwrap();
            assert_eq!((new.schema, new.attributes), (3, vec![attribute("depth", "5", Some("mm"))]), "from {version}");
        }
    }
}

#[test]
fn a_default_of_a_version_that_was_never_adopted_is_not_given() {
    let given = Declared { default: Some("EU".to_owned()), ..declared("plug", Kind::Text) };
    let all = Schemas::of([schema(vec![given]), Schema { version: 3, ..schema(vec![declared("plug", Kind::Text)]) }]);
    assert_eq!(all.adopt(&product(Vec::new())).map(|product| product.attributes), Some(Vec::new()));
}

proptest! {
    /// Going over once is enough: what a schema adopted it accepts, and adopting it again changes nothing.
    #[test]
    fn what_was_adopted_is_accepted_and_stays(values in prop::collection::vec(("[a-e]", "[ ]?(yes|NO|true|[0-9]{1,3}([.,][0-9])?|Red|x)( mm)?"), 0..6), required: bool) {
        let schema = schema(vec![
            Declared { formerly: Some("b".to_owned()), required, default: Some("1".to_owned()), ..declared("a", Kind::Number { unit: Some("mm".to_owned()) }) },
            declared("c", Kind::Flag),
            declared("d", Kind::OneOf(vec!["red".to_owned(), "x".to_owned()])),
            declared("e", Kind::Text),
        ]);
        let mut distinct: BTreeMap<String, String> = BTreeMap::new();
        distinct.extend(values);
        let old = product(distinct.iter().map(|(key, value)| attribute(key, value, None)).collect());
        if let Ok(new) = schema.adopt(&old) {
            prop_assert!(schema.faults(&new, "").is_empty());
            prop_assert_eq!(schema.adopt(&new), Ok(new));
        }
    }
}
