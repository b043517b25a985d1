//! Applies a batch of rows in one transaction. Not for dry runs.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use kernel::{Answer, Error, Kind as ErrorKind, Result};
use store::{Writer, fault};
use tasks::Run;

use super::{Count, Line, Parsed, Working, note};
use crate::import::{Fault, Stock, items, movements};
use crate::item;
use crate::settings;

/// How long a batch may keep others from writing, which on SQLite it does.
const HOLD: Duration = Duration::from_millis(100);

/// What the rows of a batch are about.
struct Present {
    items: HashMap<String, item::Model>,
    shelf: movements::Shelf,
}

impl Working {
    /// Applies as many rows as fit in a short transaction, and says how many that were.
    pub(super) async fn apply(&mut self, run: &Run, lines: &VecDeque<Line>) -> Result<usize> {
        match self.attempt(run, lines, lines.len(), None).await {
            Err(error) if is_refusal(&error) => {}
            other => return other,
        }
        // One of the rows is refused by the store itself. Alone it can be named, and the others go on.
        match self.attempt(run, lines, 1, None).await {
            Err(error) if is_refusal(&error) => {
                self.attempt(run, lines, 1, Some(Fault::new(error.code(), error.message()))).await
            }
            other => other,
        }
    }

    async fn attempt(
        &mut self,
        run: &Run,
        lines: &VecDeque<Line>,
        most: usize,
        refused: Option<Fault>,
    ) -> Result<usize> {
        let (mut ctx, mut count, import) = (self.ctx(run), self.count, self.record.id);
        let mut writer = run.store().write(&mut ctx).await?;
        let began = Instant::now();
        let mut present = self.present(&writer, lines).await?;
        let mut done = 0;
        for line in lines.iter().take(most) {
            if done > 0 && began.elapsed() > HOLD {
                break;
            }
            let outcome = match (&refused, &line.row) {
                (Some(fault), _) => Err(vec![fault.clone()]),
                (None, Err(faults)) => Err(faults.clone()),
                (None, Ok(row)) => self.apply_row(&mut writer, &mut present, row).await?.map_err(|fault| vec![fault]),
            };
            count.tell(line, &outcome);
            for fault in outcome.err().iter().flatten() {
                note(&mut writer, import, &mut count, line.line, fault).await?;
            }
            done += 1;
        }
        self.save(&mut writer, self.count.place, &count, None).await?;
        fault::point_at("import.before_commit", &import.to_string()).await?;
        writer.commit(Answer::no_content()).await?;
        self.count = count;
        Ok(done)
    }

    async fn present(&self, writer: &Writer<'_>, lines: &VecDeque<Line>) -> Result<Present> {
        let (mut skus, mut moved) = (Vec::new(), Vec::new());
        for row in lines.iter().filter_map(|line| line.row.as_ref().ok()) {
            match row {
                Parsed::Item(row) => skus.push(row.sku.clone()),
                Parsed::Movement(row) => moved.push(row),
            }
        }
        let mut present = Present { items: HashMap::new(), shelf: movements::Shelf::default() };
        if !skus.is_empty() {
            let query = writer.select::<item::Entity>();
            // What is counted must not move between the look and the booking.
            let query = if self.options.stock == Stock::Opening { query.lock() } else { query };
            present.items = items::present(query, skus).await?;
        }
        if !moved.is_empty() {
            let policy = settings::of(writer).await?;
            present.shelf.fill(writer.select::<item::Entity>(), policy, moved.into_iter()).await?;
        }
        Ok(present)
    }

    async fn apply_row(
        &self,
        writer: &mut Writer<'_>,
        present: &mut Present,
        row: &Parsed,
    ) -> Result<Result<bool, Fault>> {
        match row {
            Parsed::Item(row) => match items::plan(row, present.items.get(&row.sku), self.options) {
                Ok(plan) => items::apply(writer, plan).await.map(Ok),
                Err(fault) => Ok(Err(fault)),
            },
            Parsed::Movement(row) => Ok(present.shelf.apply(writer, row).await?.map(|()| true)),
        }
    }
}

impl Count {
    /// Counts a row that changed something (`true`), had nothing to change, or was wrong.
    pub(super) fn tell(&mut self, line: &Line, outcome: &Result<bool, Vec<Fault>>) {
        self.place = line.after;
        self.read += 1;
        match outcome {
            Ok(true) => self.applied += 1,
            Ok(false) => self.unchanged += 1,
            Err(_) => self.failed += 1,
        }
    }
}

/// Says whether the store refuses what was asked, rather than being unable to do it now.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Precondition)
}
