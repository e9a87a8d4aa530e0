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
