//! SAML, with Keycloak.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bowline_proto::identity::v1::{
    Admission, Connection, ConnectionCheckOutcome, LoginState, RollConnectionKeyRequest,
    SamlProvider, TestConnectionRequest, UpdateConnectionRequest, connection::Provider,
    connection_service_client::ConnectionServiceClient,
};
use bowline_providers::{KeycloakAdmin, SamlForm, TestBrowser, TestOrganisation, saml_provider};
use bowline_test_servers::TestDatabase;
use prost_types::FieldMask;

/// One test: the connection and its people are used again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_log_in_by_saml_and_let_their_devices_in() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let connection = Connection {
        name: "Corp".to_owned(),
        ..Connection::default()
    };
    let connection = corp.connect_saml(connection).await;
    let other = Connection {
        name: "Other".to_owned(),
        domains: vec!["corp.example".to_owned()],
        ..Connection::default()
    };
    let other = corp.connect_saml(other).await;
    person_lets_the_device_in_once(&corp, &connection).await;
    answer_is_taken_once_and_in_its_own_browser(&corp, &connection).await;
    answer_for_another_request_is_refused(&corp, &connection).await;
    answer_for_another_connection_is_refused(&corp, &connection, &other).await;
    forged_answer_is_refused(&corp, &connection).await;
    unsolicited_answer_is_refused(&corp, &connection).await;
    those_who_are_not_admitted_are_told_so(&corp).await;
    named_attribute_is_the_person(&corp).await;
    key_is_rolled_while_people_log_in(&corp, &other).await;
    test_of_a_connection_says_what_is_wrong(&corp, &connection).await;
}

async fn person_lets_the_device_in_once(corp: &TestOrganisation, connection: &Connection) {
    let (login, browser) = (corp.start_login(1).await, TestBrowser::open());
    let page = corp.log_in_by_saml(&browser, &login, connection, "kim");
    page.assert_shows(200, "Is this your device?");
    page.assert_shows(200, "Kim (kim@corp.example)");
    assert_eq!(
        corp.find_login(&login.id).await.state(),
        LoginState::Pending,
        "seeing it approves nothing"
    );
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    let first = corp.find_login(&login.id).await;
    assert_eq!(first.state(), LoginState::Approved);

    // Another device, in a browser that the provider knows already, is the same user's.
    let login = corp.start_login(2).await;
    let page = corp.log_in_by_saml(&browser, &login, connection, "kim");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");
    assert_eq!(corp.find_login(&login.id).await.user_id, first.user_id);
}

async fn answer_is_taken_once_and_in_its_own_browser(
    corp: &TestOrganisation,
    connection: &Connection,
) {
    let (login, browser) = (corp.start_login(3).await, TestBrowser::open());
    let form = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    // Two at once: one of them wins.
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| corp.post_answer(&form));
        let two = corp.post_answer(&form);
        (one.join().unwrap(), two)
    });
    let (taken, late) = if one.status == 303 {
        (one, two)
    } else {
        (two, one)
    };
    assert_eq!(taken.status, 303, "{}", taken.body);
    late.assert_shows(403, "used already");
    corp.post_answer(&form).assert_shows(403, "used already");

    // Nothing is known of the person before the browser that began comes back.
    let shown = browser.get(&corp.url(taken.location.trim_end_matches("/continue")));
    shown.assert_shows(404, "Not found");
    let stranger = TestBrowser::open();
    stranger
        .get(&corp.url(&taken.location))
        .assert_shows(403, "Cookies are needed");
    let other_login = corp.start_login(4).await;
    drop(corp.prove_person_by_saml(&stranger, &other_login, connection, "kim"));
    stranger
        .get(&corp.url(&taken.location))
        .assert_shows(404, "Not found");
    corp.follow(&browser, &taken.location)
        .assert_shows(200, "Is this your device?");
    browser
        .get(&corp.url(&taken.location))
        .assert_shows(403, "used already");
}

async fn answer_for_another_request_is_refused(corp: &TestOrganisation, connection: &Connection) {
    let (login, browser) = (corp.start_login(5).await, TestBrowser::open());
    let first = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    let second = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    let mixed = SamlForm {
        answer: first.answer,
        relay_state: second.relay_state.clone(),
    };
    corp.post_answer(&mixed)
        .assert_shows(403, "belongs to the request");
    // The attempt still takes its own.
    assert_eq!(corp.post_answer(&second).status, 303);
}

async fn answer_for_another_connection_is_refused(
    corp: &TestOrganisation,
    connection: &Connection,
    other: &Connection,
) {
    let (login, browser) = (corp.start_login(6).await, TestBrowser::open());
    let theirs = corp.prove_person_by_saml(&browser, &login, other, "kim");
    let ours = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    let mixed = SamlForm {
        answer: theirs.answer,
        relay_state: ours.relay_state,
    };
    corp.post_answer(&mixed).assert_shows(403, "not accepted");
}

async fn forged_answer_is_refused(corp: &TestOrganisation, connection: &Connection) {
    let (login, browser) = (corp.start_login(7).await, TestBrowser::open());
    let form = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    let text = STANDARD.decode(&form.answer).unwrap();
    let text = String::from_utf8(text).unwrap();
    let forge = |text: String| SamlForm {
        answer: STANDARD.encode(text),
        relay_state: form.relay_state.clone(),
    };
    let other_person = forge(text.replace("kim@corp.example", "lou@corp.example"));
    corp.post_answer(&other_person)
        .assert_shows(403, "signature");
    let (before, rest) = text.rsplit_once("<dsig:Signature ").unwrap();
    let (_, after) = rest.split_once("</dsig:Signature>").unwrap();
    corp.post_answer(&forge(format!("{before}{after}")))
        .assert_shows(403, "sign");
    for nonsense in [
        "",
        "<a/>",
        "nonsense",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
    ] {
        corp.post_answer(&forge(nonsense.to_owned()))
            .assert_shows(403, "not accepted");
    }
    let long = SamlForm {
        answer: "A".repeat(600 << 10),
        relay_state: form.relay_state.clone(),
    };
    assert_eq!(corp.post_answer(&long).status, 413);
    // None of them has used the attempt up.
    assert_eq!(corp.post_answer(&form).status, 303);
}

async fn unsolicited_answer_is_refused(corp: &TestOrganisation, connection: &Connection) {
    let (login, browser) = (corp.start_login(8).await, TestBrowser::open());
    let form = corp.prove_person_by_saml(&browser, &login, connection, "kim");
    for relay_state in ["", "invented"] {
        let unsolicited = SamlForm {
            relay_state: relay_state.to_owned(),
            ..form.clone()
        };
        corp.post_answer(&unsolicited)
            .assert_shows(403, "not at your provider");
    }
    // The provider begins the login: its answer names no request.
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    let own = corp.service_entity_id(connection);
    admin.set_client_attributes(&own, &[("saml_idp_initiated_sso_url_name", "corp-tile")]);
    let url = format!("{}/protocol/saml/clients/corp-tile", corp.keycloak.issuer());
    let page = browser.get(&url);
    page.assert_shows(200, "SAMLResponse");
    let begin = if page.body.contains("NAME=\"SAMLResponse\" VALUE=\"") {
        "NAME=\"SAMLResponse\" VALUE=\""
    } else {
        "name=\"SAMLResponse\" value=\""
    };
    let tile = SamlForm {
        answer: page.attribute(begin),
        ..form.clone()
    };
    corp.post_answer(&tile).assert_shows(403, "no request");

    // Where the connection takes it, the person is asked.
    let mut taking = connection.clone();
    if let Some(Provider::Saml(saml)) = &mut taking.provider {
        saml.accepts_unsolicited = true;
    }
    let request = UpdateConnectionRequest {
        connection: Some(taking),
        update_mask: Some(FieldMask {
            paths: vec!["saml".to_owned()],
        }),
        ..UpdateConnectionRequest::default()
    };
    let mut client = ConnectionServiceClient::new(corp.services.admin());
    client.update_connection(request).await.unwrap();
    let page = browser.get(&url);
    let tile = SamlForm {
        answer: page.attribute(begin),
        relay_state: String::new(),
    };
    let posted = corp.post_answer(&tile);
    assert_eq!(posted.status, 303, "{}", posted.body);
    let page = corp.follow(&browser, &posted.location);
    page.assert_shows(200, "Do you want to log in?");
    let pressed = corp.press(&browser, &page, "approve");
    pressed.assert_shows(200, "Your devices");
}

async fn those_who_are_not_admitted_are_told_so(corp: &TestOrganisation) {
    let only = Connection {
        name: "Only ops".to_owned(),
        domains: vec!["corp.example".to_owned()],
        admission: Some(Admission {
            groups: vec!["ops".to_owned()],
            ..Admission::default()
        }),
        ..Connection::default()
    };
    let only = corp.connect_saml(only).await;
    let login = corp.start_login(9).await;
    corp.log_in_by_saml(&TestBrowser::open(), &login, &only, "kim")
        .assert_shows(403, "none of the groups");
    corp.log_in_by_saml(&TestBrowser::open(), &login, &only, "lou")
        .assert_shows(200, "Is this your device?");
}

async fn named_attribute_is_the_person(corp: &TestOrganisation) {
    let by_number = Connection {
        name: "By number".to_owned(),
        domains: vec!["corp.example".to_owned()],
        provider: Some(Provider::Saml(SamlProvider {
            identity_attribute: "employeeNumber".to_owned(),
            ..saml_provider(corp)
        })),
        ..Connection::default()
    };
    let by_number = corp.connect_saml(by_number).await;
    let own = corp.service_entity_id(&by_number);
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    admin.set_client_attributes(&own, &[("saml_name_id_format", "email")]);
    let (login, browser) = (corp.start_login(10).await, TestBrowser::open());
    let page = corp.log_in_by_saml(&browser, &login, &by_number, "kim");
    page.assert_shows(200, "kim@corp.example");
}

async fn key_is_rolled_while_people_log_in(corp: &TestOrganisation, connection: &Connection) {
    let mut client = ConnectionServiceClient::new(corp.services.admin());
    let mut roll = async |finish| {
        let request = RollConnectionKeyRequest {
            tailnet_id: connection.tailnet_id,
            connection_id: connection.id,
            finish,
        };
        client
            .roll_connection_key(request)
            .await
            .unwrap()
            .into_inner()
    };
    let published = roll(false).await;
    let (signing, successor) = (published.signing.unwrap(), published.successor.unwrap());
    assert_ne!(signing.fingerprint, successor.fingerprint);
    assert_eq!(
        roll(false).await.successor,
        Some(successor.clone()),
        "it stays"
    );
    let own = corp.service_entity_id(connection);
    let metadata = TestBrowser::open().get(&own).body;
    assert_eq!(
        metadata.matches("<ds:X509Certificate>").count(),
        2,
        "{metadata}"
    );
    let (login, browser) = (corp.start_login(11).await, TestBrowser::open());
    corp.log_in_by_saml(&browser, &login, connection, "kim")
        .assert_shows(200, "Is this your device?");
    let rolled = roll(true).await;
    assert_eq!(
        (rolled.signing, rolled.successor),
        (Some(successor.clone()), None)
    );
    assert_eq!(roll(true).await.signing, Some(successor), "done once");
    let metadata = TestBrowser::open().get(&own).body;
    assert_eq!(
        metadata.matches("<ds:X509Certificate>").count(),
        1,
        "{metadata}"
    );
    // The provider takes requests of the new key once it knows it.
    let certificate = metadata.split("<ds:X509Certificate>").nth(1).unwrap();
    let (certificate, _) = certificate.split_once('<').unwrap();
    let admin = KeycloakAdmin::log_in(corp.keycloak);
    admin.set_client_attributes(&own, &[("saml.signing.certificate", certificate.trim())]);
    corp.log_in_by_saml(&TestBrowser::open(), &login, connection, "kim")
        .assert_shows(200, "Is this your device?");
}

async fn checks(
    corp: &TestOrganisation,
    connection: &Connection,
) -> Vec<(String, ConnectionCheckOutcome, String)> {
    let request = TestConnectionRequest {
        tailnet_id: connection.tailnet_id,
        connection_id: connection.id,
    };
    let mut client = ConnectionServiceClient::new(corp.services.admin());
    let answer = client.test_connection(request).await.unwrap().into_inner();
    let parts = answer.checks.into_iter();
    parts
        .map(|check| (check.name.clone(), check.outcome(), check.text))
        .collect()
}

async fn test_of_a_connection_says_what_is_wrong(corp: &TestOrganisation, connection: &Connection) {
    let good = checks(corp, connection).await;
    let failed = |all: &[(String, ConnectionCheckOutcome, String)]| {
        let failed = all
            .iter()
            .filter(|one| one.1 == ConnectionCheckOutcome::Failed);
        failed.map(|one| one.0.clone()).collect::<Vec<_>>()
    };
    assert_eq!(failed(&good), [""; 0], "{good:?}");
    assert!(
        good.iter()
            .any(|one| one.0 == "own key" && one.1 == ConnectionCheckOutcome::Ok),
        "{good:?}"
    );

    let oidc = corp.connect("By OIDC", &[], Admission::default()).await;
    let good = checks(corp, &oidc).await;
    assert_eq!(failed(&good), [""; 0], "{good:?}");
    assert!(
        good.iter()
            .any(|one| one.0 == "client" && one.1 == ConnectionCheckOutcome::Ok),
        "{good:?}"
    );
    let wrong = corp
        .connect_with_secret("Wrong secret", "not-the-secret")
        .await;
    let found = checks(corp, &wrong).await;
    assert_eq!(failed(&found), ["client"], "{found:?}");
}
