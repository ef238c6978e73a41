use super::*;

#[test]
fn everything_has_its_address_and_every_schema_is_there() {
    let base = "https://b.example.com/scim/v2";
    let config = service_provider_config(base);
    assert_eq!(
        config["meta"]["location"],
        format!("{base}/ServiceProviderConfig")
    );
    let ids: Vec<_> = schemas(base)
        .iter()
        .map(|schema| schema["id"].clone())
        .collect();
    for of in resource_types(base) {
        assert!(ids.contains(&of["schema"]), "{of}");
        let extensions = of["schemaExtensions"].as_array().expect("a list");
        assert!(
            extensions
                .iter()
                .all(|extension| ids.contains(&extension["schema"]))
        );
    }
}

#[test]
fn attributes_are_described_with_all_that_the_standard_asks_for() {
    for schema in schemas("") {
        let attributes = schema["attributes"].as_array().expect("a list").clone();
        let parts = attributes
            .iter()
            .filter_map(|one| one["subAttributes"].as_array())
            .flatten();
        for attribute in attributes.iter().chain(parts) {
            for name in [
                "name",
                "type",
                "multiValued",
                "description",
                "required",
                "mutability",
                "returned",
            ] {
                assert!(attribute.get(name).is_some(), "{attribute}");
            }
            assert_eq!(
                attribute["type"] == "complex",
                attribute.get("subAttributes").is_some()
            );
            assert_eq!(
                attribute["type"] == "reference",
                attribute.get("referenceTypes").is_some()
            );
        }
    }
}
