use super::*;

#[test]
fn search_is_the_same_in_an_address_and_in_a_body() {
    let query = "filter=userName+eq+%22amira%22&sortBy=userName&sortOrder=Descending&startIndex=11&count=0&attributes=userName,emails";
    let by_address = ScimQuery::parse(Some(query)).search().expect("a search");
    let body = r#"{
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "userName eq \"amira\"", "sortBy": "userName", "sortOrder": "descending",
        "startIndex": 11, "count": 0, "attributes": ["userName", "emails"]
    }"#;
    let by_body = read_search(body).expect("a search");
    assert_eq!(by_address, by_body);
    assert_eq!((by_body.count, by_body.start_index), (Some(0), 11));
}

#[test]
fn wrong_searches_are_refused() {
    for query in ["count=many", "startIndex=1.5", "sortOrder=sideways"] {
        assert!(ScimQuery::parse(Some(query)).search().is_err(), "{query}");
    }
    for body in ["[]", "{}", "{\"schemas\": [\"other\"]}"] {
        assert!(read_search(body).is_err(), "{body}");
    }
}
