//! What a service is: a manifest of operations, tables, permissions and events; the declared
//! resource that gets the standard verbs; the backend that a request is handed to. Not for the
//! gateway's policies and not for any service's rules.

mod app;
mod backend;
mod crud;
mod event_log;
mod export;
mod features;
mod guard;
mod manifest;
mod openapi;
mod operation;
mod page;
mod peers;
mod provision;
mod resource;
mod task_routes;

pub use app::{App, Live};
pub use backend::{Backend, Local, Remote};
pub use crud::crud;
pub use event_log::event_log;
pub use export::{Export, ExportFormat, ExportSource, without_guard};
pub use features::{AllOn, Feature, Features, Following, declared_features, features_of};
pub use manifest::{Audience, EventType, PermissionType, Role, Service};
pub use openapi::{document, shaped};
pub use operation::{Access, Operation, Parameter, Shape, UpTo};
pub use page::next_page;
pub use peers::Peers;
pub use provision::{NewTenant, Provisioning, check_slug, taken_back};
pub use resource::{Field, FieldKind, Permissions, Resource, Spec, UpdateVerb, set_if};
pub use task_routes::{TaskError, TaskProgress, TaskSaga, TaskState, TaskStep, TaskView, cancel_task, task_service};
