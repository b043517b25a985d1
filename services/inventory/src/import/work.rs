//! The work on an import: batches of rows, each in one short transaction with how far the import is then,
//! so that every row has its effect once, whatever stops the work in between. A dry run keeps count
//! in memory and starts anew. Not for what a row means: see `items` and `movements`.

mod batch;
mod dry;

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use kernel::{Actor, Answer, Ctx, CtxParts, PermissionSet, RequestId, Result};
use sea_orm::sea_query::{Expr, Order};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _};
use serde::Deserialize;
use serde_json::json;
use store::{Event, Writer, not_found};
use tasks::{Outcome, Run, Work};

use super::record::{self, Column, ImportId};
use super::source::{self, Source};
use super::split::{Place, Row};
use super::{Fault, FileFormat, Kind, MOST_ROWS, Options, errors, fields, items, movements};

/// How many rows are applied together at most.
const TOGETHER: usize = 200;
/// How often the owner sees how far it is.
const REPORT: Duration = Duration::from_millis(500);

/// Works on an import.
pub(super) struct Import;

#[derive(Deserialize)]
struct Payload {
    import: ImportId,
}

impl Work for Import {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            let import = run.payload::<Payload>()?.import;
            let ctx = run.ctx();
            let reader = run.store().read(&ctx).await?;
            let record = reader.select_with_deleted::<record::Entity>().id(import).one().await?;
            let last = reader.select_with_deleted::<errors::Entity>().filter(errors::Column::ImportId.eq(import));
            let last = last.order_by(errors::Column::Number, Order::Desc).limit(1).one().await?;
            reader.close().await?;
            let record = record.ok_or_else(|| run.give_up(not_found()))?;
            let mut working = Working::new(record, last.map_or(0, |last| last.number + 1));
            working.remember(run).await?;
            working.work(run).await
        })
    }
}

/// How many rows went how, and where the file goes on.
#[derive(Clone, Copy, Debug)]
struct Count {
    place: Place,
    read: u64,
    applied: u64,
    unchanged: u64,
    failed: u64,
    /// How many faults are noted.
    noted: u64,
}

/// A row that was read.
struct Line {
    line: u64,
    after: Place,
    row: Result<Parsed, Vec<Fault>>,
}

enum Parsed {
    Item(items::ItemRow),
    Movement(movements::MovementRow),
}

/// An import that is worked on.
struct Working {
    record: record::Model,
    options: Options,
    header: Vec<String>,
    source: Source,
    count: Count,
    /// Hashes of the SKUs that the file had so far, to find what is there twice.
    seen: HashSet<u64>,
    dry: dry::Dry,
    /// What is wrong with the file as a whole.
    broken: Option<(u64, Fault)>,
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Working {
    fn new(record: record::Model, noted: i64) -> Self {
        let (options, header) = (record.options(), record.header());
        let count = Count {
            place: Place { position: unsigned(record.position), line: unsigned(record.line) },
            read: unsigned(record.read),
            applied: unsigned(record.applied),
            unchanged: unsigned(record.unchanged),
            failed: unsigned(record.failed),
            noted: unsigned(noted),
        };
        let source = Source::at(&record, Place::START);
        let (seen, dry) = (HashSet::new(), dry::Dry::default());
        Self { record, options, header, source, count, seen, dry, broken: None }
    }

    /// Reads what is done already, to know its SKUs, and stands then where the work goes on.
    async fn remember(&mut self, run: &mut Run) -> Result<()> {
        let until = self.count.place.position;
        let ctx = run.ctx();
        if self.record.format() == FileFormat::Csv {
            self.source.next(run.store(), &ctx, 1).await?;
        }
        if self.options.kind == Kind::Movements && until > 0 {
            self.source = Source::at(&self.record, self.count.place);
            return Ok(());
        }
        let mut at = 0;
        while at < until {
            let rows = self.source.next(run.store(), &ctx, 1).await?;
            let Some(row) = rows.into_iter().next() else { return Ok(()) };
            at = row.after.position;
            self.parse(row, run);
        }
        Ok(())
    }

    async fn work(mut self, run: &mut Run) -> Result<Outcome> {
        let (mut lines, mut reported) = (VecDeque::new(), None::<Instant>);
        loop {
            // The first time too: who cancelled it before it began wants nothing of it.
            if reported.is_none_or(|at| at.elapsed() >= REPORT) {
                let note = format!("{} applied, {} failed", self.count.applied, self.count.failed);
                run.progress(self.count.place.position, Some(unsigned(self.record.bytes)), &note).await?;
                reported = Some(Instant::now());
            }
            if lines.is_empty() {
                lines = self.next_lines(run).await?;
            }
            if lines.is_empty() {
                return self.finish(run).await;
            }
            let done = match self.options.dry_run {
                true => self.pretend(run, &lines).await?,
                false => self.apply(run, &lines).await?,
            };
            lines.drain(..done);
        }
    }

    async fn next_lines(&mut self, run: &mut Run) -> Result<VecDeque<Line>> {
        let left = usize::try_from(MOST_ROWS.saturating_sub(self.count.read)).unwrap_or(TOGETHER);
        let rows = self.source.next(run.store(), &run.ctx(), TOGETHER.min(left.max(1))).await?;
        if left == 0 && !rows.is_empty() {
            let message = format!("only the first {MOST_ROWS} rows were read: split the file");
            self.broken = Some((rows[0].line, Fault::new("inventory.import_too_many_rows", message)));
            return Ok(VecDeque::new());
        }
        Ok(rows.into_iter().map(|row| self.parse(row, run)).collect())
    }

    fn parse(&mut self, row: Row, run: &Run) -> Line {
        let (line, after) = (row.line, row.after);
        let content = row.content.and_then(|content| fields::Fields::read(self.options.kind, &self.header, content));
        let row = match (content, self.options.kind) {
            (Err(fault), _) => Err(vec![fault]),
            (Ok(fields), Kind::Items) => items::parse(fields, self.options).and_then(|row| self.once(row)),
            (Ok(fields), Kind::Movements) => movements::parse(fields, run.store().clock().now()).map(Parsed::Movement),
        };
        Line { line, after, row }
    }

    fn once(&mut self, row: items::ItemRow) -> Result<Parsed, Vec<Fault>> {
        let mut hash = DefaultHasher::new();
        row.sku.hash(&mut hash);
        if self.seen.insert(hash.finish()) {
            return Ok(Parsed::Item(row));
        }
        Err(vec![Fault::at("sku", "inventory.import_duplicate", "a row before has this SKU")])
    }

    /// Returns a context in which whoever sent the file acts.
    fn ctx(&self, run: &Run) -> Ctx {
        let task = run.ctx();
        let actor = self.record.created_by.parse().map_or(Actor::System, Actor::User);
        Ctx::new(CtxParts {
            tenant: run.tenant(),
            actor,
            permissions: PermissionSet::default(),
            request_id: RequestId::parse(task.request_id().as_str()).unwrap_or_else(RequestId::create),
            correlation_id: task.correlation_id().clone(),
            idempotency: None,
            reason: None,
        })
    }

    /// Ends the import and the task together, and lets the file go.
    async fn finish(mut self, run: &mut Run) -> Result<Outcome> {
        if let Some(broken) = self.source.broken.take() {
            let fault = Fault::new("inventory.import_broken_file", broken.message);
            self.broken.get_or_insert((broken.line, fault));
        }
        let mut ctx = self.ctx(run);
        let mut writer = run.store().write(&mut ctx).await?;
        let (before, mut count) = (self.count, self.count);
        for (line, fault) in std::mem::take(&mut self.dry.faults).iter().chain(&self.broken) {
            note(&mut writer, self.record.id, &mut count, *line, fault).await?;
        }
        let before = if self.options.dry_run { Place::START } else { before.place };
        let complete = self.broken.is_none();
        self.save(&mut writer, before, &count, Some(complete)).await?;
        writer.remove::<source::Entity>(source::Column::ImportId.eq(self.record.id)).await?;
        let result = json!({
            "importId": self.record.id, "rows": count.read, "applied": count.applied, "unchanged": count.unchanged,
            "failed": count.failed, "complete": complete, "dryRun": self.options.dry_run,
        });
        writer.record(Event::about("inventory.import.finished", self.record.id.to_string(), result.clone())).await?;
        run.complete(&mut writer, result).await?;
        writer.commit(Answer::no_content()).await?;
        Ok(Outcome::Completed)
    }

    /// Keeps how far the import is, unless another worker got there first.
    async fn save(&self, writer: &mut Writer<'_>, before: Place, count: &Count, complete: Option<bool>) -> Result<()> {
        let mut update = record::Entity::update_many()
            .col_expr(Column::Position, Expr::value(signed(count.place.position)))
            .col_expr(Column::Line, Expr::value(signed(count.place.line)))
            .col_expr(Column::Read, Expr::value(signed(count.read)))
            .col_expr(Column::Applied, Expr::value(signed(count.applied)))
            .col_expr(Column::Unchanged, Expr::value(signed(count.unchanged)))
            .col_expr(Column::Failed, Expr::value(signed(count.failed)))
            .filter(Column::Id.eq(self.record.id))
            .filter(Column::Position.eq(signed(before.position)));
        if let Some(complete) = complete {
            update = update
                .col_expr(Column::Complete, Expr::value(complete))
                .col_expr(Column::FinishedAt, Expr::value(writer.now()));
        }
        if writer.revise(update).await? == 1 {
            return Ok(());
        }
        writer.spoil();
        Err(kernel::Error::unavailable("inventory.import_overtaken", "another worker has this import by now"))
    }
}

/// Notes a fault, unless there are enough.
async fn note(writer: &mut Writer<'_>, import: ImportId, count: &mut Count, line: u64, fault: &Fault) -> Result<()> {
    if count.noted < errors::KEPT {
        errors::append(writer, import, count.noted, line, fault).await?;
        count.noted += 1;
    }
    Ok(())
}
