//! The user whom a provider's person is here: found, linked or made.

use bowline_db::Mutation;
use bowline_oidc::{ProviderIdentity, find_claim, is_kept_elsewhere};
use bowline_proto::{
    identity::v1::{Connection, OidcProvider, Role, User},
    time::to_timestamp,
};
use serde_json::json;

use crate::{
    domain::{
        person::{Person, check_admission, clean_text, login_name, may_link, refused},
        suspension::Suspension,
    },
    error::IdentityError,
    memberships::apply_claim,
    scim::{find_provisioned, is_provisioned_by},
    store::{self, connections::ProviderSubject},
    users::insert_user,
};

/// Reads a person from what the provider has signed.
pub(crate) fn read_person(oidc: &OidcProvider, identity: &ProviderIdentity) -> Person {
    let mail = match oidc.allow_unverified_mail {
        true => identity.email(),
        false => identity.verified_email(),
    };
    let text = |name: &str| clean_text(identity.text_claim(name).unwrap_or_default());
    let groups = match oidc.groups_claim.as_str() {
        "" => None,
        path if is_kept_elsewhere(&identity.claims, path) => None,
        // Providers leave the claim out for somebody who is in no group.
        path => Some(find_claim(&identity.claims, path).unwrap_or_default()),
    };
    Person {
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        mail: mail.map(str::to_owned),
        username: text("preferred_username"),
        display_name: text("name"),
        picture: text("picture"),
        groups,
    }
}

/// Says whether the provider names the mail address that counts as the person's, or that it names none.
pub(crate) fn says_mail(oidc: &OidcProvider, identity: &ProviderIdentity) -> bool {
    let claims = &identity.claims;
    let is_judged = oidc.allow_unverified_mail || claims.contains_key("email_verified");
    claims.contains_key("email") && is_judged
}

/// Who a person is here.
#[derive(Debug)]
pub(crate) enum IdentifiedPerson {
    /// This user.
    User(Box<User>),
    /// This user, who may log in when an administrator has approved it.
    Waiting(Box<User>),
    /// A user who may not log in: what the provider says of the user's groups counts all the same.
    Refused(IdentityError),
}

/// Finds, links or makes the user of a person who may log in, and records what changed. The user is in the groups that the
/// provider says afterwards.
pub(crate) async fn identify_user(
    mutation: &mut Mutation,
    connection: &Connection,
    person: &Person,
) -> Result<IdentifiedPerson, IdentityError> {
    let subject = ProviderSubject {
        connection_id: connection.id,
        issuer: &person.issuer,
        subject: &person.subject,
    };
    let on = mutation.connection();
    if let Some(id) = store::connections::find_linked_user(on, subject).await? {
        let known = store::find_user(&mut *on, connection.tailnet_id, id).await?;
        let known = known.ok_or(IdentityError::NotFound("user"))?;
        // Who has left a group is out of it, also when that very group was what let the person log in.
        let known = apply_groups(mutation, connection, person, known).await?;
        let is_brought = is_provisioned_by(mutation.connection(), connection.id, known.id).await?;
        let admitted = match is_brought {
            true => Ok(()),
            false => check_admission(connection, person, Some(&known)),
        };
        return Ok(match admitted {
            Ok(()) => judge_standing(connection, known),
            Err(refusal) => IdentifiedPerson::Refused(refusal),
        });
    }
    let user = match find_provisioned(on, connection, person).await? {
        Some(brought) => require_standing(connection, brought)?,
        None => find_or_create(mutation, connection, person).await?,
    };
    let (now, on) = (mutation.now(), mutation.connection());
    store::connections::link_user(on, subject, connection.tailnet_id, user.id, now).await?;
    let detail = json!({ "connection": connection.name, "issuer": person.issuer, "subject": person.subject });
    mutation.record_audit("user.link", user.login_name.clone(), &detail);
    let user = apply_groups(mutation, connection, person, user).await?;
    Ok(judge_standing(connection, user))
}

/// Returns the user of a person who logs in for the first time and may: the one of that name, or a new one.
async fn find_or_create(
    mutation: &mut Mutation,
    connection: &Connection,
    person: &Person,
) -> Result<User, IdentityError> {
    let on = mutation.connection();
    let name = login_name(person)?;
    let named = store::find_user_named_alike(on, connection.tailnet_id, &name).await?;
    check_admission(connection, person, named.as_ref())?;
    match named {
        Some(named) if may_link(connection, person) => require_standing(connection, named),
        Some(_) => Err(refused(
            "There is a user with your name already, who logs in another way. Ask an administrator to link you to it.",
        )),
        None => create_user(mutation, connection, person, name).await,
    }
}

/// Lets a user be in the groups that the provider says. Where the connection names no claim, or the provider keeps it elsewhere,
/// nothing changes.
async fn apply_groups(
    mutation: &mut Mutation,
    connection: &Connection,
    person: &Person,
    user: User,
) -> Result<User, IdentityError> {
    match &person.groups {
        Some(claimed) => apply_claim(mutation, connection, user.id, claimed).await,
        None => Ok(user),
    }
}

/// Judges whether a user may log in. Whom the word of this connection's provider has suspended, its word brings back.
fn judge_standing(connection: &Connection, user: User) -> IdentifiedPerson {
    let mut suspension = Suspension::of(&user);
    if suspension.by_connection_id == connection.id {
        suspension.by_connection_id = 0;
    }
    let waiting = Suspension {
        awaits_approval: true,
        ..Suspension::default()
    };
    match suspension {
        _ if suspension == Suspension::default() => IdentifiedPerson::User(Box::new(user)),
        _ if suspension == waiting => IdentifiedPerson::Waiting(Box::new(user)),
        Suspension { by_scim: true, .. } => IdentifiedPerson::Refused(refused(
            "Your organisation has deactivated you. Ask whoever keeps people there.",
        )),
        _ => IdentifiedPerson::Refused(refused("You are suspended here. Ask an administrator.")),
    }
}

/// Returns a user who may log in, or waits for an administrator.
fn require_standing(connection: &Connection, user: User) -> Result<User, IdentityError> {
    match judge_standing(connection, user) {
        IdentifiedPerson::User(user) | IdentifiedPerson::Waiting(user) => Ok(*user),
        IdentifiedPerson::Refused(refusal) => Err(refusal),
    }
}

async fn create_user(
    mutation: &mut Mutation,
    connection: &Connection,
    person: &Person,
    login_name: String,
) -> Result<User, IdentityError> {
    let tailnet = store::find_tailnet(mutation.connection(), connection.tailnet_id).await?;
    let awaits_approval = tailnet.is_some_and(|tailnet| tailnet.user_approval);
    let mut made = User {
        // Whoever waits has nothing before the approval, also where nobody knows of waiting.
        suspended: awaits_approval,
        awaits_approval,
        tailnet_id: connection.tailnet_id,
        login_name,
        display_name: person.display_name.clone(),
        profile_pic_url: person.picture.clone(),
        role: Role::Member.into(),
        created_at: Some(to_timestamp(mutation.now())),
        ..User::default()
    };
    insert_user(mutation, &mut made).await?;
    Ok(made)
}
