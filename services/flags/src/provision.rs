//! The first flags of a tenant that is made for somebody. There is no event of them: the event that the
//! tenant is made tells every process to read them. Not for turning them later: see `switch`.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use kernel::{Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _};
use serde_json::{Value, json};
use service::{NewTenant, Provisioning};
use tasks::{SagaRun, Step, StepWork};

use crate::flag::{ActiveModel, Column, Entity, MOST};
use crate::switch;
use crate::turning::check_key;

/// Returns this service's part in making a tenant.
pub(crate) fn part() -> Provisioning {
    Provisioning { step: Step::new("flags.set", Flags), check }
}

fn check(new: &NewTenant) -> Result<()> {
    let wrong = |why: String| Error::invalid("request.invalid_body", "the body is not valid").field("flags", why);
    if new.flags.len() as u64 > MOST {
        return Err(wrong(format!("must have at most {MOST} keys")));
    }
    new.flags.keys().try_for_each(|key| check_key(key)).map_err(|why| wrong(why.to_owned()))
}

/// Sets the first flags.
struct Flags;

impl StepWork for Flags {
    fn run<'a>(&'a self, run: &'a mut SagaRun) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let new = NewTenant::of(run)?;
            let system = new.build(run).await?;
            let rows = system.all(Entity::find().filter(Column::TenantId.eq(new.id))).await?;
            let there: BTreeSet<String> = rows.into_iter().map(|row| row.key).collect();
            for (key, enabled) in new.flags.iter().filter(|(key, _)| !there.contains(*key)) {
                let row = ActiveModel {
                    tenant_id: Set(new.id),
                    created_at: Set(system.now()),
                    created_by: Set(new.asked_by.clone()),
                    ..switch::row(&new.asked_by, system.now(), key, *enabled)
                };
                system.insert(row).await?;
            }
            system.commit().await?;
            Ok(json!({ "flags": new.flags.len() }))
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
