//! How somebody is reached, for services that write letters: addresses do not travel in events. Not
//! for showing people to one another: see `members`.

use kernel::{Result, UserId};
use sea_orm::EntityTrait as _;
use store::{Purpose, Store};

use crate::tables::user;

/// How somebody is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The person's name.
    pub name: String,
    /// The person's e-mail address.
    pub email: String,
}

/// Returns how somebody is reached; nothing for who has no address or may not sign in.
pub async fn contact(store: &Store, user: UserId) -> Result<Option<Contact>> {
    let system = store.system_read(Purpose::SignIn).await?;
    let person = system.one(user::Entity::find_by_id(user)).await?;
    system.close().await?;
    let person = person.filter(|person| person.state == user::ACTIVE);
    Ok(person.and_then(|person| Some(Contact { name: person.name, email: person.email? })))
}
