//! What people are written: an invitation, a way back in, a registration to confirm. The text is
//! made here; a [`Courier`] takes it away. Not for notifications, which people can turn off.

use std::pin::Pin;

use kernel::Result;

use crate::credentials::secret::Code;

/// A letter to one person.
#[derive(Clone)]
pub struct Letter {
    /// The e-mail address.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// Takes letters away.
pub trait Courier: Send + Sync {
    /// Takes a letter; when this returns, it will be delivered or somebody will be told.
    fn send<'a>(&'a self, letter: &'a Letter) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
}

impl Letter {
    pub(crate) fn invitation(to: &str, organization: &str, role: &str, front: &str, code: &Code) -> Self {
        let text = format!(
            "You are invited to {organization} as {role}.\n\nAccept within 7 days:\n\n  {}\n\nIf you do not know \
             {organization}, ignore this letter.\n",
            link(front, "invitation", code)
        );
        Self { to: to.to_owned(), subject: format!("Invitation to {organization}"), text }
    }

    pub(crate) fn reset(to: &str, front: &str, code: &Code) -> Self {
        let text = format!(
            "Somebody, probably you, asked for a new password.\n\nChoose one within an hour:\n\n  {}\n\nIf it was not \
             you, ignore this letter; nothing has changed.\n",
            link(front, "reset", code)
        );
        Self { to: to.to_owned(), subject: "A new password".to_owned(), text }
    }

    pub(crate) fn registration(to: &str, name: &str, organization: &str, front: &str, code: &Code) -> Self {
        let text = format!(
            "Somebody registered here as {name} with the organisation {organization} and this address. If it was \
             you, confirm it within a day, with the password that you chose:\n\n  {}\n\nIf it was not you, ignore \
             this letter; nothing has been made.\n",
            link(front, "confirm", code)
        );
        Self { to: to.to_owned(), subject: "Confirm your registration".to_owned(), text }
    }

    pub(crate) fn known_already(to: &str, front: &str) -> Self {
        let text = format!(
            "Somebody, probably you, tried to register with this address, which has an account already.\n\nSign in, or \
             ask for a new password, at {front}\n\nIf it was not you, ignore this letter.\n"
        );
        Self { to: to.to_owned(), subject: "You have an account already".to_owned(), text }
    }
}

/// The code stands in the fragment, which browsers keep to themselves: it reaches no server's log.
fn link(front: &str, what: &str, code: &Code) -> String {
    format!("{}/#/{what}?code={}", front.trim_end_matches('/'), code.text())
}
