//! The notifications service: tells people what concerns them, in the app, by mail and to webhooks,
//! as they and their tenant prefer. This file is the manifest. Not for the events themselves.

mod deliver;
mod follow;
mod kind;
mod letters;
mod migrations;
mod notice;
mod preferences;
mod quiet;
mod raise;
mod retention;
mod routes;
mod state;
mod tables;
mod window;

use std::time::Duration;

use service::{Audience, EventType, PermissionType, Role, Service};
use tasks::{Job, Retry};

use crate::deliver::{MAIL_JOB, SendLetter};
use crate::raise::{RAISE_JOB, TellRest};
use crate::routes::{list, policy, preferences as wishes, read, socket, unsubscribe};

pub use kind::{Channel, NotificationType};
pub use letters::{Address, Directory, Mail, Mailer, NotSent};
pub use preferences::{Layer, Rule};
pub use quiet::QuietHours;
pub use state::{Notifications, Outside, Settings};

/// Returns the service over this state.
pub fn service(notifications: Notifications) -> Service {
    Service::new("notifications", "Tells people what concerns them: in the app, by mail, to webhooks")
        .routes([list::operation(), socket::operation()])
        .routes(read::operations())
        .routes(wishes::operations())
        .routes(policy::operations())
        .routes(unsubscribe::operations())
        .body_limit(BODY)
        .migrations(migrations::STEPS)
        .permissions(PERMISSIONS)
        .events(EVENTS)
        .subscriptions([follow::subscription()])
        .jobs([
            Job::new(MAIL_JOB, SendLetter(notifications.clone())).retry(PATIENT),
            Job::new(RAISE_JOB, TellRest).retry(PATIENT),
        ])
        .schedules([retention::schedule()])
        .extension(notifications)
}

/// What counts here is our own database being away; how a mail server is tried is the letter's business.
const PATIENT: Retry = Retry { attempts: 30, first: Duration::from_secs(1), longest: Duration::from_secs(3_600) };

/// No body here needs more.
const BODY: usize = 16 << 10;

const PERMISSIONS: [PermissionType; 1] =
    [PermissionType { name: policy::WRITE, role: Role::Admin, summary: "Rule who is told what through which channel" }];

/// What is told stays in the tables: the events only name it, and nobody but administrators reads them.
const EVENTS: [EventType; 3] = [
    EventType {
        name: raise::RAISED,
        audience: Audience::Admins,
        retention_days: Some(30),
        summary: "Somebody was told something; data says who, of which type and through which channels",
    },
    EventType {
        name: read::READ,
        audience: Audience::Admins,
        retention_days: Some(30),
        summary: "Somebody has read one notification, or all up to a number",
    },
    EventType {
        name: policy::CHANGED,
        audience: Audience::Admins,
        retention_days: None,
        summary: "What the organisation rules about notifications was changed",
    },
];
