//! Searches.

use bowline_test_servers::on_both;
use serde_json::json;

use super::*;

on_both!(TestIdentity::start =>
    filters_find_who_is_meant,
    pages_add_up_in_every_order,
    answers_have_what_was_asked_for,
);

/// Brings a crew of four.
async fn bring_crew(provider: &TestProvider<'_>) {
    for (name, number, title, family, active) in [
        ("noor@home.example.com", "40", "Mate", "Berg", true),
        ("Amira@home.example.com", "10", "Captain", "Zander", true),
        ("kim@home.example.com", "30", "Cook", "ayers", false),
        ("lena@home.example.com", "20", "Mate", "Moss", true),
    ] {
        let body = json!({
            "schemas": [USER_SCHEMA], "userName": name, "externalId": number, "title": title, "active": active,
            "name": { "familyName": family },
            "emails": [
                { "type": "home", "value": format!("{number}@mail.example.net") },
                { "type": "work", "value": name, "primary": true },
            ],
        });
        provider.create(USER, body).await.unwrap();
    }
}

async fn filters_find_who_is_meant(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    bring_crew(&provider).await;
    for (filter, found) in [
        ("userName eq \"AMIRA@home.example.com\"", &["Amira"][..]),
        ("externalId eq \"30\"", &["kim"]),
        ("externalId eq \"31\"", &[]),
        ("id eq \"nobody\"", &[]),
        (
            "title eq \"mate\" and not (userName sw \"noor\")",
            &["lena"],
        ),
        ("title pr and active eq false", &["kim"]),
        (
            "(title eq \"Cook\" or title eq \"Captain\") and active eq true",
            &["Amira"],
        ),
        (
            "title eq \"Cook\" or title eq \"Captain\" and active eq true",
            &["Amira", "kim"],
        ),
        ("emails[type eq \"work\" and value sw \"lena\"]", &["lena"]),
        ("emails[type eq \"home\" and value sw \"lena\"]", &[]),
        ("emails.value eq \"40@mail.example.net\"", &["noor"]),
        ("emails co \"10@\"", &["Amira"]),
        ("name.familyName gt \"moss\"", &["Amira"]),
        ("name.familyName le \"BERG\"", &["noor", "kim"]),
        (
            "userName ew \"EXAMPLE.com\" and title ne \"Mate\"",
            &["Amira", "kim"],
        ),
        ("nickName pr", &[]),
        (
            "meta.created gt \"2000-01-01T00:00:00Z\" and title eq \"Cook\"",
            &["kim"],
        ),
        ("meta.lastModified lt \"2000-01-01T00:00:00Z\"", &[]),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"kim\"",
            &["kim"],
        ),
        (
            "userName eq \"kim@home.example.com\" and externalId eq \"10\"",
            &[],
        ),
    ] {
        let names = provider.find_names(filter).await.unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|name| format!("{name}@home.example.com"))
            .collect();
        let mut sorted = names.clone();
        sorted.sort();
        let mut wanted = found.clone();
        wanted.sort();
        assert_eq!(sorted, wanted, "{filter}");
    }
    for filter in [
        "userName",
        "userName xx \"a\"",
        "color eq \"red\"",
        "active gt true",
        "(userName pr",
        "userName eq amira",
    ] {
        assert_reason(provider.find_names(filter).await, "SCIM_INVALID_FILTER");
    }
}

async fn pages_add_up_in_every_order(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    bring_crew(&provider).await;
    let by = async |sort_by: &str, is_descending, start_index, count| {
        let search = ListScimResourcesRequest {
            sort_by: sort_by.to_owned(),
            is_descending,
            start_index,
            count,
            ..ListScimResourcesRequest::default()
        };
        let (total, page) = provider.list(USER, search).await.unwrap();
        assert_eq!(total, 4);
        let number = |one: &Value| one["externalId"].as_str().unwrap().to_owned();
        page.iter().map(number).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(by("", false, 1, None).await, "40 10 30 20");
    assert_eq!(by("", false, 2, Some(2)).await, "10 30");
    assert_eq!(by("", false, -3, Some(1)).await, "40");
    assert_eq!(by("", false, 1, Some(0)).await, "");
    assert_eq!(by("", false, 9, None).await, "");
    assert_eq!(by("userName", false, 1, None).await, "10 30 20 40");
    assert_eq!(by("userName", true, 1, None).await, "40 20 30 10");
    assert_eq!(by("name.familyName", false, 2, Some(2)).await, "40 20");
    // Of a list, the primary value counts.
    assert_eq!(by("emails.value", false, 1, None).await, "10 30 20 40");
    let search = ListScimResourcesRequest {
        sort_by: "color".to_owned(),
        ..ListScimResourcesRequest::default()
    };
    assert_reason(provider.list(USER, search).await, "SCIM_INVALID_PATH");
}

async fn answers_have_what_was_asked_for(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    bring_crew(&provider).await;
    let search = |projection| ListScimResourcesRequest {
        filter: "externalId eq \"10\"".to_owned(),
        projection,
        ..ListScimResourcesRequest::default()
    };
    let (_, found) = provider
        .list(USER, search(only("USERNAME, name.familyName, color")))
        .await
        .unwrap();
    let wanted = json!({
        "schemas": [USER_SCHEMA], "id": found[0]["id"], "userName": "Amira@home.example.com",
        "name": { "familyName": "Zander" },
    });
    assert_eq!(found, [wanted]);
    let without = Some(ScimProjection {
        attributes: String::new(),
        excluded_attributes: "emails.type,meta,id,name,active,title".to_owned(),
    });
    let (_, found) = provider.list(USER, search(without)).await.unwrap();
    let wanted = json!({
        "schemas": [USER_SCHEMA], "id": found[0]["id"], "userName": "Amira@home.example.com", "externalId": "10",
        "emails": [{ "value": "10@mail.example.net" }, { "value": "Amira@home.example.com", "primary": true }],
    });
    assert_eq!(found, [wanted]);
}
