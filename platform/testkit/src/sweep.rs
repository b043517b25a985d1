//! Tries every operation of the document as everybody: the owner succeeds and sees a sentinel; the
//! other tenant, a caller without the permission and a caller without a token never see it and
//! change nothing. An operation without a fixture fails the sweep. Not for what an operation does.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;

use http::Method;
use identity::Member;
use serde_json::Value;

use crate::app::TestApp;
use crate::people::TestTenant;
use crate::request::TestResponse;

/// How an operation is to be asked so that its owner succeeds.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The path with its ids, and the query.
    pub path: String,
    /// The JSON body.
    pub body: Option<Value>,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The status that the owner gets.
    pub status: u16,
    /// What the owner's answer shows and nobody else's may.
    pub sentinel: Option<String>,
    /// What another tenant gets.
    pub other: Expect,
}

/// What another tenant gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 404: the thing is not theirs.
    NotFound,
    /// Their own, without the sentinel: lists, creations, their own profile.
    Own,
    /// 403: only whoever runs the platform may.
    Forbidden,
}

impl Attempt {
    /// Returns an attempt at something of the owner's; others get 404.
    pub fn at(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            body: None,
            headers: Vec::new(),
            status: 200,
            sentinel: None,
            other: Expect::NotFound,
        }
    }

    /// Sends this body.
    #[must_use]
    pub fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends this header too.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Says what the owner gets.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Says what the owner's answer shows.
    #[must_use]
    pub fn shows(mut self, sentinel: impl Into<String>) -> Self {
        self.sentinel = Some(sentinel.into());
        self
    }

    /// Says that others get 403 instead of 404.
    #[must_use]
    pub fn forbidden(mut self) -> Self {
        self.other = Expect::Forbidden;
        self
    }

    /// Says that others get their own instead of 404.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.other = Expect::Own;
        self
    }
}

pub(crate) type Prepare = Box<
    dyn for<'a> Fn(&'a TestApp, &'a TestTenant) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>> + Send + Sync,
>;

/// A sweep in the making: one fixture an operation.
#[derive(Default)]
pub struct Sweep {
    pub(crate) fixtures: BTreeMap<String, Prepare>,
    pub(crate) own_token: BTreeSet<String>,
    superadmin: BTreeSet<String>,
}

/// Somebody's try at an operation.
struct Try<'a> {
    operation: &'a str,
    method: &'a Method,
    who: &'static str,
}

impl Sweep {
    /// Says how an operation is tried; the owner's things are made anew for each try.
    #[must_use]
    pub fn operation(
        mut self,
        id: &str,
        prepare: impl for<'a> Fn(&'a TestApp, &'a TestTenant) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.fixtures.insert(id.to_owned(), Box::new(prepare));
        self
    }

    /// Says how an operation is tried that ends the token it is asked with: it gets one of its own.
    #[must_use]
    pub fn operation_with_own_token(
        mut self,
        id: &str,
        prepare: impl for<'a> Fn(&'a TestApp, &'a TestTenant) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.own_token.insert(id.to_owned());
        self.operation(id, prepare)
    }

    /// Says how an operation is tried that only whoever runs the platform may do: the owner is a
    /// superadmin inside the owner's tenant.
    #[must_use]
    pub fn operation_as_superadmin(
        mut self,
        id: &str,
        prepare: impl for<'a> Fn(&'a TestApp, &'a TestTenant) -> Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.superadmin.insert(id.to_owned());
        self.operation(id, prepare)
    }

    /// Says that an operation needs nothing made first.
    #[must_use]
    pub fn plain(self, id: &str, attempt: Attempt) -> Self {
        self.operation(id, move |_, _| {
            let attempt = attempt.clone();
            Box::pin(async move { attempt })
        })
    }

    /// Tries everything; panics with all that is wrong.
    pub async fn run(&self, app: &TestApp) {
        let (owner, other) = (app.tenant("owner").await, app.tenant("other").await);
        let mut wrong = Vec::new();
        let mut tried = 0;
        let mut unknown: Vec<&String> = self.fixtures.keys().collect();
        let paths = app.document()["paths"].as_object().expect("a document");
        for operation in paths.values().flat_map(|methods| methods.as_object().expect("methods").iter()) {
            let (method, written) = operation;
            let method: Method = method.to_uppercase().parse().expect("a method");
            let id = written["operationId"].as_str().expect("an operation id");
            unknown.retain(|known| *known != id);
            let Some(prepare) = self.fixtures.get(id) else {
                wrong.push(format!("{id}: there is no fixture for it"));
                continue;
            };
            tried += 1;
            self.try_operation(app, (&owner, &other), (&method, id, written), prepare, &mut wrong).await;
        }
        wrong.extend(unknown.iter().map(|id| format!("{id}: there is a fixture, but no such operation")));
        assert!(tried > 0, "the document has no operation");
        assert!(wrong.is_empty(), "{} of {tried} operations:\n  {}", wrong.len(), wrong.join("\n  "));
    }

    /// Returns what the owner is to ask with.
    pub(crate) async fn owner_token(&self, app: &TestApp, owner: &TestTenant, id: &str, written: &Value) -> String {
        match () {
            () if is_operators(written) => app.operator_token().to_owned(),
            () if self.superadmin.contains(id) => app.superadmin(owner),
            () if written["x-session"] == true => app.session(owner).await,
            () if self.own_token.contains(id) => app.issue(Member { tenant: owner.id, user: owner.admin }).await,
            () => owner.admin_token.clone(),
        }
    }

    async fn try_operation(
        &self,
        app: &TestApp,
        (owner, other): (&TestTenant, &TestTenant),
        (method, id, written): (&Method, &str, &Value),
        prepare: &Prepare,
        wrong: &mut Vec<String>,
    ) {
        let security = written["security"].as_array().and_then(|list| list.first());
        let operator = is_operators(written);
        let own = self.own_token.contains(id);
        let session = written["x-session"] == true;
        // What is prepared may end sessions, so the owner signs in after it.
        let attempt = prepare(app, owner).await;
        let owner_token = self.owner_token(app, owner, id, written).await;
        let answer = send(app, method, &attempt, Some(&owner_token)).await;
        let shown = attempt.sentinel.as_ref().is_none_or(|sentinel| answer.text().contains(sentinel));
        if answer.status.as_u16() != attempt.status || !shown {
            wrong.push(format!("{id} as owner: {} {}", answer.status, answer.text()));
        }
        if security.is_none() {
            return; // Public: there is nobody to keep out.
        }
        let as_whom = |who| Try { operation: id, method, who };
        let forbidden: &[u16] = if operator { &[401] } else { &[401, 403] };
        refused(app, owner, prepare, as_whom("nobody"), None, forbidden, wrong).await;
        if operator {
            refused(app, owner, prepare, as_whom("an administrator"), Some(&owner.admin_token), forbidden, wrong).await;
            return;
        }
        refused(app, owner, prepare, as_whom("a wrong token"), Some("ptc_wrong"), &[401], wrong).await;
        if let Some(permission) = written["x-permission"].as_str() {
            let token = app.token_without(owner, permission);
            refused(app, owner, prepare, as_whom("without permission"), Some(&token), &[403], wrong).await;
        }
        if session {
            let token = app.api_token(owner);
            refused(app, owner, prepare, as_whom("an API token"), Some(&token), &[403], wrong).await;
        }
        let allowed: &[u16] = match attempt.other {
            Expect::NotFound => &[404],
            Expect::Own => &[attempt.status],
            Expect::Forbidden => &[403],
        };
        let other_token = match () {
            () if session => app.session(other).await,
            () if own => app.issue(Member { tenant: other.id, user: other.admin }).await,
            () => other.admin_token.clone(),
        };
        refused(app, owner, prepare, as_whom("the other tenant"), Some(&other_token), allowed, wrong).await;
    }
}

/// Says whether only whoever runs the installation may do this.
fn is_operators(written: &Value) -> bool {
    let security = written["security"].as_array().and_then(|list| list.first());
    security.is_some_and(|scheme| scheme.get("operator").is_some())
}

/// Tries as somebody who must neither see the sentinel nor change anything of the owner's.
async fn refused(
    app: &TestApp,
    owner: &TestTenant,
    prepare: &Prepare,
    attempt_of: Try<'_>,
    token: Option<&str>,
    allowed: &[u16],
    wrong: &mut Vec<String>,
) {
    let attempt = prepare(app, owner).await;
    let before = app.digest(owner).await;
    let answer = send(app, attempt_of.method, &attempt, token).await;
    let place = format!("{} as {}", attempt_of.operation, attempt_of.who);
    if !allowed.contains(&answer.status.as_u16()) {
        wrong.push(format!("{place}: {} instead of {allowed:?}: {}", answer.status, answer.text()));
    }
    if attempt.sentinel.as_ref().is_some_and(|sentinel| answer.text().contains(sentinel)) {
        wrong.push(format!("{place}: saw what is the owner's: {}", answer.text()));
    }
    if app.digest(owner).await != before {
        wrong.push(format!("{place}: changed what is the owner's"));
    }
}

async fn send(app: &TestApp, method: &Method, attempt: &Attempt, token: Option<&str>) -> TestResponse {
    let mut request = app.request(method.clone(), &attempt.path);
    if let Some(token) = token {
        // Only a superadmin's request needs a reason; nobody else's is changed by one.
        request = request.token(token).header("x-audit-reason", "the sweep");
    }
    for (name, value) in &attempt.headers {
        request = request.header(name, value);
    }
    if let Some(body) = &attempt.body {
        request = request.json(body);
    }
    request.send().await
}
