//! A dry run: decides what each row would do and keeps count, without a single change. What is known of
//! the stock goes from batch to batch, so that a movement that the ones before leave too little for
//! is noted as it would be. Not for real runs.

use std::collections::VecDeque;

use kernel::Result;
use tasks::Run;

use super::{Line, Parsed, Working};
use crate::import::{Fault, errors, items, movements};
use crate::item;
use crate::settings::{self, NegativeStock};

/// What a dry run knows.
#[derive(Default)]
pub(super) struct Dry {
    shelf: movements::Shelf,
    /// The first faults, with their lines.
    pub faults: Vec<(u64, Fault)>,
}

impl Working {
    /// Decides on all of these rows.
    pub(super) async fn pretend(&mut self, run: &Run, lines: &VecDeque<Line>) -> Result<usize> {
        let (mut skus, mut moved) = (Vec::new(), Vec::new());
        for row in lines.iter().filter_map(|line| line.row.as_ref().ok()) {
            match row {
                Parsed::Item(row) => skus.push(row.sku.clone()),
                Parsed::Movement(row) => moved.push(row),
            }
        }
        let ctx = run.ctx();
        let reader = run.store().read(&ctx).await?;
        let present = items::present(reader.select::<item::Entity>(), skus).await?;
        let policy = reader.select::<settings::Entity>().one().await?;
        let policy = policy.and_then(|row| NegativeStock::named(&row.negative_stock)).unwrap_or_default();
        self.dry.shelf.fill(reader.select::<item::Entity>(), policy, moved.into_iter()).await?;
        reader.close().await?;
        for line in lines {
            let outcome = match &line.row {
                Err(faults) => Err(faults.clone()),
                Ok(Parsed::Item(row)) => items::plan(row, present.get(&row.sku), self.options)
                    .map(|plan| !matches!(plan, items::Plan::Nothing))
                    .map_err(|fault| vec![fault]),
                Ok(Parsed::Movement(row)) => self.dry.shelf.pretend(row).map(|()| true).map_err(|fault| vec![fault]),
            };
            self.count.tell(line, &outcome);
            for fault in outcome.err().into_iter().flatten() {
                if (self.dry.faults.len() as u64) < errors::KEPT {
                    self.dry.faults.push((line.line, fault));
                }
            }
        }
        Ok(lines.len())
    }
}
