//! Takes a result: checks who signed it, then records it once, however often it comes. Reads top to
//! bottom in the order of the checks; before the signature is known to be right, nothing is told.

use axum::Extension;
use axum::extract::{FromRequest as _, Request, State};
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use kernel::{Actor, Answer, Ctx, CtxParts, Error, PermissionSet, Result, Timestamp};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::Serialize;
use serde_json::Value;
use service::{Access, App, Feature, Operation, Shape};
use sha2::{Digest as _, Sha256};
use store::{Purpose, TenantRecord};
use utoipa::ToSchema;
use web::{Body, RequestIds};

use super::key;
use super::message::{Signed, out_of_time, refused};
use super::posted::{Ground, Named, Posted};
use super::receipt;
use super::secret::Secret;
use crate::batch::BatchId;
use crate::batch::qc::{QcVerdict, record_qc};
use crate::item::ItemId;
use crate::quality::{Quality, QualityPrediction};
use crate::state::Inventory;

/// The largest body that is taken.
const BODY: usize = 64 << 10;

const FEATURE: Feature = Feature { key: "qc.webhook", summary: "Quality results that laboratories post by themselves" };

/// What became of a result.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QcReceived {
    /// Whether this message had come before; then nothing was done again, and the rest is the first answer.
    duplicate: bool,
    /// The batch that was checked.
    batch_id: BatchId,
    /// Its code.
    batch_code: String,
    /// The item that it is of.
    item_id: ItemId,
    /// What it is now: `passed` or `failed`.
    qc_state: String,
    /// The grade that it got, if any.
    grade: Option<String>,
    /// When it was checked.
    inspected_at: Option<Timestamp>,
    /// How the measurements were graded, if that is what came.
    prediction: Option<QualityPrediction>,
}

/// Returns `POST /api/webhooks/qc`.
pub(super) fn operation() -> Operation {
    let mut operation = Operation::post("/api/webhooks/qc", "inventory_receive_qc", receive)
        .access(Access::Public)
        .shape(Shape::Success)
        .feature(FEATURE)
        .describe(
            "Receive a quality result",
            "For laboratories and camera lines, without a token: the body is signed as Standard Webhooks has it, with \
             the headers `webhook-id`, `webhook-timestamp` (within 5 minutes of now) and `webhook-signature` \
             (`v1,` and the Base64 of HMAC-SHA256 over `id.timestamp.body`), and `webhook-key-id` names the key, which \
             selects organisation and secret. What is not signed so is 401 `inventory.invalid_signature`, without \
             saying why. Takes `batchId` or `batchCode` (with `itemSku` where several items have such a batch), and \
             either `result` or all four `measurements`, which the quality model grades: `minimumGrade`, B unless said, \
             and better pass. Sets the batch's QC state as `POST /api/inventory/batches/{id}/qc` does, and writes \
             `inventory.batch.qc_passed` or `inventory.batch.qc_failed` with the key's id as `source`. A message that comes \
             again with the same `webhook-id` within 7 days is answered as before, with `duplicate: true`, and does \
             nothing; with another body it is 409. Guarded by the switch `qc.webhook` of the key's organisation.",
        )
        .takes::<Posted>()
        .gives::<QcReceived>(200, "Recorded, or recorded before")
        .problems(&[400, 401, 403, 404, 409]);
    operation.body_limit = BODY;
    operation
}

/// A message whose signature is right.
struct Checked {
    message: Signed,
    tenant: TenantRecord,
}

async fn receive(
    State(app): State<App>,
    Extension(inventory): Extension<Inventory>,
    Extension(ids): Extension<RequestIds>,
    request: Request,
) -> web::Result {
    let (parts, body) = request.into_parts();
    let message = Signed::read(&parts.headers).ok_or_else(refused)?;
    let body = web::bytes_within(body, BODY).await?;
    let Checked { message, tenant } = check(&app, &inventory, message, &body).await?;
    if !message.is_fresh(app.now()) {
        return Err(out_of_time().into());
    }
    if !message.is_named() {
        let text = "webhook-id must be 1 to 128 letters, digits, _, - or :";
        return Err(Error::invalid("inventory.invalid_webhook_id", text).into());
    }
    if !tenant.is_active() {
        return Err(Error::forbidden("tenants.suspended", "this organisation is suspended").into());
    }
    app.features.require(tenant.id, FEATURE.key)?;
    let posted = read(body.clone()).await?;
    posted.check_time(app.now())?;
    let named = posted.named()?;
    let (verdict, prediction) = judge(inventory.quality(), &posted, &message).await?;
    let mut ctx = Ctx::new(CtxParts {
        tenant: tenant.id,
        actor: Actor::System,
        permissions: PermissionSet::default(),
        request_id: ids.request,
        correlation_id: ids.correlation,
        idempotency: None,
        reason: None,
    });
    Ok(record(&app, &mut ctx, &message, &body, &named, verdict, prediction).await?.into())
}

/// Finds the key and its tenant, and checks the signature.
async fn check(app: &App, inventory: &Inventory, message: Signed, body: &[u8]) -> Result<Checked> {
    let vault = inventory.vault()?;
    let system = app.store.system_read(Purpose::SignIn).await?;
    let select = key::Entity::find().filter(key::Column::Id.eq(message.key)).filter(key::Column::DeletedAt.is_null());
    let found = match system.one(select).await? {
        Some(key) => Some((system.tenant(key.tenant_id).await?, key)),
        None => None,
    };
    system.close().await?;
    let secrets = match &found {
        // Whoever posts has proved nothing yet, and learns nothing of the master key.
        Some((_, key)) => Secret::live(vault, key, app.now())
            .map_err(|error| Error::internal("the secret of a QC key cannot be opened").source_error(error))?,
        None => vec![Secret::of_nobody()],
    };
    let signed = secrets.iter().any(|secret| secret.signed(&message, body));
    match found.filter(|_| signed) {
        Some((tenant, _)) => Ok(Checked { message, tenant }),
        None => Err(refused()),
    }
}

/// Reads the body as any JSON body is read.
async fn read(body: Bytes) -> web::Result<Posted> {
    let mut request = Request::new(axum::body::Body::from(body));
    // What is signed says by that what it is, whatever the sender calls it.
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Body::<Posted>::from_request(request, &()).await.map(|Body(posted)| posted)
}

/// Comes to a verdict. The model may ask elsewhere, so this is done before a Writer is opened.
async fn judge(quality: &Quality, posted: &Posted, message: &Signed) -> Result<(QcVerdict, Option<QualityPrediction>)> {
    let mut note = posted.note.clone().map(String::from);
    let (passed, grade, prediction) = match posted.ground()? {
        Ground::Said { passed, grade } => (passed, grade, None),
        Ground::Measured { sample, minimum } => {
            let (prediction, model) = (quality.predict(&sample).await?, quality.describe());
            let (grade, passed) = (prediction.grade, prediction.grade >= minimum);
            if !passed && note.is_none() {
                let (is, wanted) = (grade.name(), minimum.name());
                note = Some(format!("graded {is} by {} {}, where {wanted} was asked for", model.name, model.version));
            }
            (passed, Some(grade), Some(QualityPrediction { prediction, model }))
        }
    };
    let verdict = QcVerdict {
        passed,
        grade: grade.map(|grade| grade.name().to_owned()),
        note,
        inspected_at: posted.inspected_at,
        source: message.key.to_string(),
    };
    Ok((verdict, prediction))
}

/// Records the verdict, unless the message has come before.
async fn record(
    app: &App,
    ctx: &mut Ctx,
    message: &Signed,
    body: &[u8],
    named: &Named<'_>,
    verdict: QcVerdict,
    prediction: Option<QualityPrediction>,
) -> Result<Answer> {
    let hash = Sha256::digest(body).to_vec();
    let mut writer = app.store.write(ctx).await?;
    if let Some(seen) = receipt::find(&writer, message.key, &message.id).await? {
        // The first answer may not be on disk yet: committing waits for it.
        return writer.commit(again(&seen, &hash)?).await;
    }
    let batch = named.find(&writer).await?;
    let batch = record_qc(&mut writer, batch, verdict).await?;
    let received = QcReceived {
        duplicate: false,
        batch_id: batch.id,
        batch_code: batch.code,
        item_id: batch.item_id,
        qc_state: batch.qc_state,
        grade: batch.qc_grade,
        inspected_at: batch.qc_at,
        prediction,
    };
    let answer = Answer::ok(&received)?;
    receipt::keep(&mut writer, message.key, &message.id, hash, &answer.body).await?;
    writer.commit(answer).await
}

/// Answers a message that has come before.
fn again(seen: &receipt::Model, hash: &[u8]) -> Result<Answer> {
    if seen.body_hash != hash {
        let text = "a message with this webhook-id came before with another body: a new message needs a new id";
        return Err(Error::conflict("inventory.webhook_id_reused", text));
    }
    let damaged = |error| Error::internal("the answer to a message is damaged").source_error(error);
    let mut answer: Value = serde_json::from_str(&seen.answer).map_err(damaged)?;
    answer["duplicate"] = true.into();
    Answer::ok(&answer)
}
