//! A service as data: what `portico serve` mounts, the gateway routes to, the migrations run and
//! the documents list. Not for behaviour.

use std::sync::Arc;

use axum::{Extension, Router};
use events::Subscription;
use store::{Constraint, Migrations, Step};
use tasks::{Job, Saga, Schedule};

use crate::app::App;
use crate::features::Features;
use crate::operation::Operation;
use crate::provision::Provisioning;

/// The roles that permissions are given to by default; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Works with the data.
    Staff,
    /// Runs the tenant.
    Admin,
    /// Runs the platform; not a role in a tenant.
    Superadmin,
}

impl Role {
    /// Returns the role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Staff => "staff",
            Self::Admin => "admin",
            Self::Superadmin => "superadmin",
        }
    }

    /// Returns the role with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Staff, Self::Admin, Self::Superadmin].into_iter().find(|role| role.name() == name)
    }
}

/// A permission that a service checks.
#[derive(Clone, Copy, Debug)]
pub struct PermissionType {
    /// `service.resource.verb`.
    pub name: &'static str,
    /// The least role that has it.
    pub role: Role,
    /// What it allows, for people.
    pub summary: &'static str,
}

/// Who may learn of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member of the tenant.
    Members,
    /// Staff and above.
    Staff,
    /// Administrators: audit.
    Admins,
}

impl Audience {
    /// Returns the least role that may learn of it.
    pub const fn role(self) -> Role {
        match self {
            Self::Members => Role::Viewer,
            Self::Staff => Role::Staff,
            Self::Admins => Role::Admin,
        }
    }
}

/// A type of event that a service publishes.
#[derive(Clone, Copy, Debug)]
pub struct EventType {
    /// `service.thing.happened`.
    pub name: &'static str,
    /// Who may learn of it.
    pub audience: Audience,
    /// For how many days it is kept; nothing means as long as the tenant.
    pub retention_days: Option<u32>,
    /// What happened, for people.
    pub summary: &'static str,
}

/// A service.
pub struct Service {
    /// Its name: the first part of its permissions, events and tables.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// Its routes.
    pub operations: Vec<Operation>,
    /// Its tables.
    pub migrations: Migrations,
    /// Its permissions.
    pub permissions: Vec<PermissionType>,
    /// Its events.
    pub events: Vec<EventType>,
    /// What breaking its constraints means.
    pub constraints: Vec<Constraint>,
    /// What it does when something changes.
    pub subscriptions: Vec<Subscription>,
    /// The kinds of work that it puts in the queue.
    pub jobs: Vec<Job>,
    /// What it does at certain times.
    pub schedules: Vec<Schedule>,
    /// What it does in several steps.
    pub sagas: Vec<Saga>,
    /// Its part in making a tenant.
    pub provisioning: Vec<Provisioning>,
    /// What knows the switches, if this service does.
    pub features: Option<Arc<dyn Features>>,
    extensions: Vec<Extend>,
}

/// Makes a value reachable in the handlers of a router.
type Extend = Box<dyn Fn(Router) -> Router + Send + Sync>;

impl Service {
    /// Returns an empty service.
    pub fn new(name: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            summary,
            operations: Vec::new(),
            migrations: Migrations { service: name, steps: &[] },
            permissions: Vec::new(),
            events: Vec::new(),
            constraints: Vec::new(),
            subscriptions: Vec::new(),
            jobs: Vec::new(),
            schedules: Vec::new(),
            sagas: Vec::new(),
            provisioning: Vec::new(),
            features: None,
            extensions: Vec::new(),
        }
    }

    /// Adds routes: what `crud()` returns, or single operations.
    #[must_use]
    pub fn routes(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// Limits the bodies that its routes so far take, in bytes.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.operations.iter_mut().for_each(|operation| operation.body_limit = bytes);
        self
    }

    /// Sets the steps that make its tables.
    #[must_use]
    pub fn migrations(mut self, steps: &'static [Step]) -> Self {
        self.migrations.steps = steps;
        self
    }

    /// Adds permissions.
    #[must_use]
    pub fn permissions(mut self, permissions: impl IntoIterator<Item = PermissionType>) -> Self {
        self.permissions.extend(permissions);
        self
    }

    /// Adds event types.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = EventType>) -> Self {
        self.events.extend(events);
        self
    }

    /// Adds constraints.
    #[must_use]
    pub fn constraints(mut self, constraints: impl IntoIterator<Item = Constraint>) -> Self {
        self.constraints.extend(constraints);
        self
    }

    /// Adds subscriptions.
    #[must_use]
    pub fn subscriptions(mut self, subscriptions: impl IntoIterator<Item = Subscription>) -> Self {
        self.subscriptions.extend(subscriptions);
        self
    }

    /// Adds kinds of work.
    #[must_use]
    pub fn jobs(mut self, jobs: impl IntoIterator<Item = Job>) -> Self {
        self.jobs.extend(jobs);
        self
    }

    /// Adds schedules.
    #[must_use]
    pub fn schedules(mut self, schedules: impl IntoIterator<Item = Schedule>) -> Self {
        self.schedules.extend(schedules);
        self
    }

    /// Adds sagas.
    #[must_use]
    pub fn sagas(mut self, sagas: impl IntoIterator<Item = Saga>) -> Self {
        self.sagas.extend(sagas);
        self
    }

    /// Adds a part in making a tenant.
    #[must_use]
    pub fn provisions(mut self, part: Provisioning) -> Self {
        self.provisioning.push(part);
        self
    }

    /// Says that this service knows which switches are on.
    #[must_use]
    pub fn knows_features(mut self, features: Arc<dyn Features>) -> Self {
        self.features = Some(features);
        self
    }

    /// Makes a value reachable in its handlers, as `axum::Extension<T>`: settings, or what wiring made.
    #[must_use]
    pub fn extension<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        self.extensions.push(Box::new(move |router| router.layer(Extension(value.clone()))));
        self
    }

    /// Returns the router that serves its operations.
    pub fn router(&self, app: &App) -> Router {
        let mut router = Router::new();
        for operation in &self.operations {
            router = router.route(operation.path, operation.route(app));
        }
        self.extensions.iter().fold(router.with_state(app.clone()), |router, extend| extend(router))
    }
}
