//! Who a CONNECT comes from (spec 3.2, 3.3).

use std::sync::Arc;

use mqtt::codec::Connect;
use platform::registry::{Error, Identity, Registry, StoredCredential};

/// Looks for the device that this CONNECT belongs to: the order of spec 3.3 over what the registry knows. `None` if there
/// is none, or if its password is wrong.
///
/// # Errors
/// The registry could not be asked.
pub async fn authenticate(registry: &dyn Registry, connect: &Connect) -> Result<Option<Arc<StoredCredential>>, Error> {
    // Absent and empty are the same.
    let user_name = connect.user_name.as_deref().filter(|name| !name.is_empty());
    let client_id = Some(connect.client_id.as_str()).filter(|id| !id.is_empty());
    let fits = |found: &Arc<StoredCredential>| found.credential.accepts_password(connect.password.as_deref());
    let [client_and_user, token, user, client] = candidates(user_name, client_id);
    let asked: Vec<Identity<'_>> = [client_and_user, token, user, client].into_iter().flatten().collect();
    let mut found = registry.credentials(&asked).await?.into_iter();
    let [client_and_user, token, user, client] =
        [client_and_user, token, user, client].map(|identity| identity.and_then(|_| found.next().flatten()));
    Ok(match (client, client_and_user) {
        // 1. Without a user name only a credential of the client id alone can fit.
        (client, None) if user_name.is_none() => client,
        // 2. Client id and user name: a wrong password ends the search.
        (_, Some(both)) => Some(both).filter(fits),
        // 3. The user name as a token, or a credential of the user name alone.
        (_, None) => token.or(user).filter(fits),
    })
}

/// What to ask the registry for, all at once: client id and user name, token, user name, client id.
fn candidates<'a>(user_name: Option<&'a str>, client_id: Option<&'a str>) -> [Option<Identity<'a>>; 4] {
    match (user_name, client_id) {
        (None, client_id) => [None, None, None, client_id.map(Identity::ClientId)],
        (Some(user_name), client_id) => [
            client_id.map(|client_id| Identity::ClientIdAndUserName { client_id, user_name }),
            Some(Identity::Token(user_name)),
            Some(Identity::UserName(user_name)),
            None,
        ],
    }
}

/// A CONNECT of the provisioning protocol (spec 2.1, 13.1).
pub fn is_provisioning(connect: &Connect) -> bool {
    connect.user_name.as_deref() == Some("provision") || connect.client_id == "provision"
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{TenantId, Timestamp};
    use mqtt::Version;
    use platform::Secret;
    use platform::registry::{Credential, Memory, NewDevice};

    fn text(text: &str) -> Option<String> {
        (text != "-").then(|| text.to_owned())
    }

    fn connect(client_id: &str, user_name: &str, password: &str) -> Connect {
        Connect {
            version: Version::V311,
            clean_start: true,
            keep_alive: 0,
            client_id: text(client_id).unwrap_or_default(),
            user_name: text(user_name),
            password: text(password).map(String::into_bytes),
            will: None,
            session_expiry: 0,
            receive_maximum: u16::MAX,
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user_properties: Vec::new(),
        }
    }

    async fn registry(devices: &[(&str, Credential)]) -> Memory {
        let registry = Memory::new();
        let device = |(name, credential): &(&str, Credential)| NewDevice {
            name: (*name).to_owned(),
            profile: "default".to_owned(),
            gateway: false,
            credential: Some(credential.clone()),
            created: Timestamp(0),
        };
        for created in registry.create_devices(TenantId::DEFAULT, devices.iter().map(device).collect()).await {
            created.unwrap();
        }
        registry
    }

    fn token(token: &str) -> Credential {
        Credential::token(token).unwrap()
    }

    fn basic(client_id: &str, user_name: &str, password: &str) -> Credential {
        let part = |part| text(part).map(Secret::new);
        Credential::basic(part(client_id), part(user_name), part(password)).unwrap()
    }

    async fn device(registry: &Memory, client_id: &str, user_name: &str, password: &str) -> String {
        let found = authenticate(registry, &connect(client_id, user_name, password)).await.unwrap();
        found.map_or("refused".to_owned(), |found| found.device.name.clone())
    }

    /// Spec 3.2, the table.
    #[tokio::test]
    async fn access_tokens() {
        let registry = registry(&[("D", token("A1B2C3D4E5F6"))]).await;
        let rows = [
            ("myDevice001", "A1B2C3D4E5F6", "-", "D"),
            ("-", "A1B2C3D4E5F6", "whatever", "D"),
            ("-", "wrong", "-", "refused"),
            ("A1B2C3D4E5F6", "-", "-", "refused"),
            ("-", "-", "-", "refused"),
            ("-", "-", "A1B2C3D4E5F6", "refused"),
            ("-", "a1b2c3d4e5f6", "-", "refused"),
        ];
        for (client_id, user_name, password, expected) in rows {
            assert_eq!(device(&registry, client_id, user_name, password).await, expected, "{client_id} {user_name}");
        }
    }

    /// Spec 3.3, the table of examples, and the order of look-up.
    #[tokio::test]
    async fn basic_credentials() {
        let registry = registry(&[
            ("D1", basic("ClientId", "-", "-")),
            ("D2", basic("ClientId", "UserName1", "-")),
            ("D3", basic("ClientId", "UserName2", "secret")),
            ("D4", basic("ClientId", "UserName3", "secret")),
            ("D5", token("UserName1")),
            ("D6", token("UserName2")),
            ("D7", basic("-", "UserName7", "-")),
            ("D8", basic("-", "UserName8", "secret")),
        ])
        .await;
        let rows = [
            ("random", "UserName1", "-", "D5"),
            ("ClientId", "-", "-", "D1"),
            ("ClientId", "UserName1", "-", "D2"),
            ("ClientId", "UserName2", "secret", "D3"),
            ("random", "UserName2", "random", "D6"),
            ("ClientId", "UserName3", "WRONG", "refused"),
            // A wrong password ends the search, although the user name alone would be D6's token.
            ("ClientId", "UserName2", "WRONG", "refused"),
            ("ClientId", "UserName2", "-", "refused"),
            // A stored credential without a password ignores one.
            ("ClientId", "UserName1", "whatever", "D2"),
            ("ClientId", "-", "whatever", "D1"),
            ("ClientId", "", "", "D1"),
            ("random", "UserName7", "whatever", "D7"),
            ("-", "UserName7", "-", "D7"),
            ("random", "UserName8", "secret", "D8"),
            ("random", "UserName8", "WRONG", "refused"),
            ("random", "UserName8", "-", "refused"),
            ("random", "UserName3", "secret", "refused"),
            ("Clientid", "-", "-", "refused"),
            ("random", "-", "-", "refused"),
        ];
        for (client_id, user_name, password, expected) in rows {
            let label = format!("{client_id} {user_name} {password}");
            assert_eq!(device(&registry, client_id, user_name, password).await, expected, "{label}");
        }
    }

    /// Spec 13.1.
    #[test]
    fn provisioning_is_recognised_by_user_name_or_client_id() {
        assert!(is_provisioning(&connect("x", "provision", "-")));
        assert!(is_provisioning(&connect("provision", "-", "-")));
        assert!(!is_provisioning(&connect("x", "Provision", "provision")));
    }
}
