//! The first administrator of a tenant that is made for somebody: an invitation, made while nobody can
//! hear of it, and its letter, when the tenant is made. Not for registration, where people come by
//! themselves.

use std::time::Duration;

use events::{Kinds, Subscriber, Subscription};
use futures_util::future::BoxFuture;
use kernel::{Error, Result, TenantId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use service::{NewTenant, Provisioning, Role};
use store::{Event, EventRow, Purpose, Writer};
use tasks::{Job, NewTask, Outcome, Retry, Run, SagaRun, Step, StepWork, Work, enqueue};

use crate::credentials::secret::Code;
use crate::letters::Letter;
use crate::routes::invitations::LIFETIME;
use crate::state::Identity;
use crate::tables::invitation::{ActiveModel, Column, Entity, InvitationId};
use crate::tables::user::Email;

const SEND: &str = "identity.send_first_invitation";

/// A mail server may be away for half a day.
const RETRY: Retry = Retry { attempts: 20, first: Duration::from_secs(5), longest: Duration::from_secs(3_600) };

/// The first administrator's invitation is named like the tenant, so that each step finds it.
fn first_invitation(tenant: TenantId) -> InvitationId {
    InvitationId::from_uuid(tenant.uuid())
}

/// Returns this service's part in making a tenant.
pub(crate) fn part() -> Provisioning {
    Provisioning { step: Step::new("identity.invite", Invite), check }
}

/// Returns what sends the letter once the tenant is made.
pub(crate) fn subscription() -> Subscription {
    Subscription::new("identity.first_invitation", Kinds::Of(&["tenants.tenant.provisioned"]), Provisioned).once()
}

/// Returns the work of sending it.
pub(crate) fn job(identity: Identity) -> Job {
    Job::new(SEND, Send(identity)).retry(RETRY)
}

fn check(new: &NewTenant) -> Result<()> {
    let wrong = |why| Error::invalid("request.invalid_body", "the body is not valid").field("admin.email", why);
    Email::new(&new.admin_email).map(drop).map_err(wrong)
}

/// Invites the first administrator.
struct Invite;

impl StepWork for Invite {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let id = first_invitation(new.id);
            let email = Email::new(&new.admin_email).map_err(Error::internal)?;
            let system = new.build(run).await?;
            let there = Entity::find().filter(Column::TenantId.eq(new.id)).filter(Column::Id.eq(id));
            if system.one(there).await?.is_none() {
                let now = system.now();
                let row = ActiveModel {
                    tenant_id: Set(new.id),
                    id: Set(id),
                    email: Set(email.as_str().to_owned()),
                    role: Set(Role::Admin.name().to_owned()),
                    // Of a code that nobody will ever know: the letter brings another.
                    code_hash: Set(Code::long()?.hash()),
                    expires_at: Set(now.plus(LIFETIME)),
                    accepted_at: Set(None),
                    created_at: Set(now),
                    created_by: Set(new.asked_by.clone()),
                    version: Set(1),
                    updated_at: Set(now),
                    updated_by: Set(new.asked_by.clone()),
                    deleted_at: Set(None),
                };
                system.insert(row).await?;
            }
            system.commit().await?;
            Ok(json!({ "invitation": id }))
        })
    }

    fn undo<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let Some(system) = new.take_back(run).await? else { return Ok(()) };
            let delete = Entity::delete_many().filter(Column::TenantId.eq(new.id));
            system.execute(&delete.into_query()).await?;
            system.commit().await
        })
    }
}

/// Hears that a tenant was made.
struct Provisioned;

impl Subscriber for Provisioned {
    fn apply<'a, 'c: 'a>(&'a self, writer: &'a mut Writer<'c>, event: &'a EventRow) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let id = first_invitation(event.tenant_id);
            let found = writer.select::<Entity>().id(id).filter(Column::AcceptedAt.is_null()).one().await?;
            // Whoever registered is in already.
            let Some(invitation) = found else { return Ok(()) };
            let told = json!({ "role": invitation.role });
            writer.record(Event::about("identity.invitation.created", id, told)).await?;
            enqueue(writer, NewTask::new(SEND, json!(Payload { invitation: id })).unique(id.to_string())).await?;
            Ok(())
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    invitation: InvitationId,
}

/// Writes the letter. Each attempt makes a new code, which is stored as a hash before the letter goes:
/// of two letters the later one's works.
struct Send(Identity);

impl Work for Send {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let Payload { invitation: id } = run.payload()?;
            let (courier, code) = (self.0.courier()?, Code::long()?);
            let system = run.store().system(Purpose::Bootstrap).await?;
            let mine = || Column::TenantId.eq(run.tenant()).and(Column::Id.eq(id));
            let renew = Entity::update_many()
                .col_expr(Column::CodeHash, Expr::val(code.hash()))
                .filter(mine())
                .filter(Column::AcceptedAt.is_null())
                .filter(Column::DeletedAt.is_null());
            if system.execute(renew.as_query()).await? == 0 {
                system.close().await?;
                return Ok(Outcome::Done(json!({ "sent": false })));
            }
            let found = system.one(Entity::find().filter(mine())).await?;
            let tenant = system.tenant(run.tenant()).await?;
            system.commit().await?;
            let Some(row) = found else { return Ok(Outcome::Done(json!({ "sent": false }))) };
            let front = &self.0.settings().front_end_url;
            courier.send(&Letter::invitation(&row.email, &tenant.name, &row.role, front, &code)).await?;
            Ok(Outcome::Done(json!({ "sent": true })))
        })
    }
}
