//! Tokens of the installation's own and of others' issuers behind one question. Which issuers there are may
//! change while it is asked. Not for how either is checked.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use issuers::Issuers;
use kernel::Result;
use web::{Authenticate, Verified};

/// Asks the issuer that a token names, and the installation itself about all others.
pub(crate) struct Federation {
    pub own: Arc<dyn Authenticate>,
    pub issuers: Arc<ArcSwap<Issuers>>,
}

impl Authenticate for Federation {
    fn bearer<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified>> {
        Box::pin(async move {
            let issuers = self.issuers.load_full();
            if issuers.is_empty() || issuers.recognises(token).is_none() {
                return self.own.bearer(token).await;
            }
            let caller = issuers.check(token).await?;
            let until = caller.until;
            Ok(Verified { principal: Arc::new(caller.into_principal()), until })
        })
    }

    fn ticket<'a>(&'a self, ticket: &'a str, path: &'a str) -> BoxFuture<'a, Result<Verified>> {
        self.own.ticket(ticket, path)
    }
}
