//! The realm that Keycloak imports: what every client of it relies on.

use serde_json::Value;
use xtask::stack::keycloak::render_realm;

fn realm() -> Value {
    let text = render_realm("eu", "http://127.0.0.1:8080");
    assert!(
        !text.contains('@') || !text.split('"').any(|part| part.starts_with('@') && part.ends_with('@')),
        "a name was not filled"
    );
    serde_json::from_str(&text).expect("the realm is JSON")
}

fn client<'a>(realm: &'a Value, id: &str) -> &'a Value {
    let clients = realm["clients"].as_array().expect("a list of clients");
    clients.iter().find(|client| client["clientId"] == id).expect("the client")
}

#[test]
fn tokens_are_short_lived_typed_and_signed_with_one_elliptic_curve() {
    let realm = realm();
    assert_eq!(realm["realm"], "shopsphere-eu");
    assert_eq!(realm["defaultSignatureAlgorithm"], "ES256");
    assert_eq!(realm["accessTokenLifespan"], 300);
    assert_eq!((&realm["revokeRefreshToken"], &realm["refreshTokenMaxReuse"]), (&Value::Bool(true), &Value::from(0)));
    assert_eq!(realm["bruteForceProtected"], true);
    for id in ["shopsphere-api-login", "storefront"] {
        let client = client(&realm, id);
        assert_eq!(client["attributes"]["access.token.header.type.rfc9068"], "true", "{id}");
        let mappers = client["protocolMappers"].to_string();
        assert!(
            mappers.contains("\"included.custom.audience\":\"shopsphere-api\"") && mappers.contains("residency_region"),
            "{id}"
        );
        assert!(
            !client["defaultClientScopes"].to_string().contains("mail"),
            "{id}: names and e-mails stay out of access tokens"
        );
    }
}

#[test]
fn only_the_login_of_our_own_api_may_take_passwords() {
    let realm = realm();
    for client in realm["clients"].as_array().expect("a list of clients") {
        let may = client["directAccessGrantsEnabled"] == true;
        assert_eq!(may, client["clientId"] == "shopsphere-api-login", "{client}");
        assert_eq!(client["implicitFlowEnabled"], false, "{client}");
    }
    let storefront = client(&realm, "storefront");
    assert_eq!(storefront["attributes"]["pkce.code.challenge.method"], "S256");
    assert_eq!(
        storefront["redirectUris"],
        serde_json::json!(["http://127.0.0.1:8080/auth/callback"]),
        "exact, no wildcard"
    );
}

#[test]
fn people_cannot_move_themselves_to_another_region() {
    let realm = realm();
    let profile =
        &realm["components"]["org.keycloak.userprofile.UserProfileProvider"][0]["config"]["kc.user.profile.config"][0];
    let profile: Value = serde_json::from_str(profile.as_str().expect("a text")).expect("the profile is JSON");
    let attributes = profile["attributes"].as_array().expect("attributes");
    let region = attributes.iter().find(|attribute| attribute["name"] == "residency_region").expect("declared");
    assert_eq!(region["permissions"]["edit"], serde_json::json!(["admin"]));
}
