//! What can be taken of an item, and in which order: first expired, first out. Units in batches that have
//! expired or failed their check are there, and nobody's to take. Not for taking.

use kernel::{Error, Result, Timestamp};
use sea_orm::ColumnTrait as _;
use store::{Reader, Scoped, Writer, not_found};

use super::{BatchId, Column, Entity, Model};
use crate::item::{self, ItemId};
use crate::reservation;
use crate::settings::{self, NegativeStock};

/// How many batches of one item are looked at; what lies behind counts as not to be taken.
const MOST_BATCHES: u64 = 5_000;

/// An item with the batches that have something left.
#[derive(Debug)]
pub(crate) struct There {
    pub item: item::Model,
    /// Those that expire first come first.
    pub batches: Vec<Model>,
    now: Timestamp,
}

/// Which units are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// How many of which batch, in the order in which they are taken.
    pub lines: Vec<(BatchId, i64)>,
    /// How many that are in no batch.
    pub loose: i64,
    /// How many more would be needed.
    pub missing: i64,
}

fn with_units(query: Scoped<'_, Entity>, item: ItemId) -> Scoped<'_, Entity> {
    query.filter(Column::ItemId.eq(item)).filter(Column::Quantity.gt(0)).limit(MOST_BATCHES)
}

impl There {
    /// Reads what is there and keeps it so until the transaction ends: whoever changes an item's units or
    /// batches holds the item first.
    pub async fn locked(writer: &Writer<'_>, id: ItemId) -> Result<Self> {
        let item = writer.select::<item::Entity>().id(id).lock().one().await?.ok_or_else(not_found)?;
        let batches = with_units(writer.select::<Entity>(), id).all().await?;
        Ok(Self::new(item, batches, writer.now()))
    }

    /// Reads what is there; a reservation whose time is up holds nothing.
    pub async fn read(reader: &Reader<'_>, id: ItemId, now: Timestamp) -> Result<Self> {
        let mut item = reader.select::<item::Entity>().id(id).one().await?.ok_or_else(not_found)?;
        let batches = with_units(reader.select::<Entity>(), id).all().await?;
        item.reserved.0 -= reservation::held_by_expired(reader, id, now).await?;
        Ok(Self::new(item, batches, now))
    }

    fn new(item: item::Model, mut batches: Vec<Model>, now: Timestamp) -> Self {
        batches.sort_by_key(|batch| (batch.expires_at.unwrap_or(Timestamp(i64::MAX)), batch.received_at, batch.id));
        Self { item, batches, now }
    }

    /// Makes sure that expired reservations are no reason to refuse, and says whether as many can be taken.
    /// `held` is what the caller's own reservation holds.
    pub async fn has(&mut self, writer: &mut Writer<'_>, wanted: i64, held: i64) -> Result<bool> {
        if wanted > self.free() + held && reservation::release_expired(writer, self.item.id).await? {
            self.item = writer.select::<item::Entity>().id(self.item.id).one().await?.ok_or_else(not_found)?;
        }
        Ok(wanted <= self.free() + held)
    }

    /// Says whether the item's policy lets more be taken than there is.
    pub async fn allows_below_zero(&self, writer: &Writer<'_>) -> Result<bool> {
        match self.item.negative_stock.as_deref().and_then(NegativeStock::named) {
            Some(policy) => Ok(policy.allows_below_zero()),
            None => Ok(settings::of(writer).await?.allows_below_zero()),
        }
    }

    fn is_usable(&self, batch: &Model) -> bool {
        !batch.is_expired(self.now) && !batch.has_failed()
    }

    /// Returns how many units are in batches that expired or failed.
    pub fn unusable(&self) -> i64 {
        self.batches.iter().filter(|batch| !self.is_usable(batch)).map(|batch| batch.quantity.0).sum()
    }

    /// Returns how many units are in no batch.
    pub fn loose(&self) -> i64 {
        (self.item.quantity.0 - self.item.batched.0).max(0)
    }

    /// Returns how many units can be used, whoever reserved them.
    pub fn usable(&self) -> i64 {
        let batches = self.batches.iter().filter(|batch| self.is_usable(batch));
        let in_batches: i64 = batches.map(|batch| batch.quantity.0).sum();
        (in_batches + self.loose()).min(self.item.quantity.0)
    }

    /// Returns how many of them nobody reserved; below zero where more is reserved than can be used.
    pub fn free(&self) -> i64 {
        self.usable() - self.item.reserved.0
    }

    /// Returns which units to take: of batches first, and of those what expires first.
    pub fn plan(&self, wanted: i64) -> Plan {
        let (mut lines, mut missing) = (Vec::new(), wanted);
        for batch in self.batches.iter().filter(|batch| self.is_usable(batch)) {
            let taken = missing.min(batch.quantity.0);
            if taken > 0 {
                lines.push((batch.id, taken));
                missing -= taken;
            }
        }
        let loose = missing.min(self.loose());
        Plan { lines, loose, missing: missing - loose }
    }

    /// There is less to take than is asked for.
    pub fn insufficient(&self, wanted: i64) -> Error {
        let (there, reserved, unit) = (self.item.quantity.0, self.item.reserved.0, &self.item.unit);
        let (free, unusable) = (self.free().max(0), self.unusable());
        let message = format!(
            "{free} {unit} can be taken (of {there} in stock {reserved} are reserved, and {unusable} are in batches \
             that expired or failed their check), {wanted} would be needed"
        );
        Error::conflict("inventory.insufficient_stock", message)
    }
}

#[cfg(test)]
mod tests {
    use kernel::{Id, Quantity, TenantId};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn batch(code: &str, quantity: i64, expires_at: Option<i64>, received_at: i64, qc_state: &str) -> Model {
        Model {
            tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
            id: Id::new(),
            item_id: Id::from_uuid(uuid::Uuid::nil()),
            code: code.to_owned(),
            quantity: Quantity(quantity),
            received_quantity: Quantity(quantity),
            received_at: Timestamp(received_at),
            expires_at: expires_at.map(Timestamp),
            supplier: None,
            unit_cost: None,
            qc_state: qc_state.to_owned(),
            qc_grade: None,
            qc_note: None,
            qc_at: None,
            created_at: NOW,
            created_by: String::new(),
            version: 1,
            updated_at: NOW,
            updated_by: String::new(),
            deleted_at: None,
        }
    }

    fn there(quantity: i64, reserved: i64, batches: Vec<Model>) -> There {
        let item = item::Model {
            tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
            id: Id::from_uuid(uuid::Uuid::nil()),
            sku: "A".to_owned(),
            name: "A".to_owned(),
            description: None,
            unit: "piece".to_owned(),
            quantity: Quantity(quantity),
            low_stock_level: None,
            short_since_version: None,
            reserved: Quantity(reserved),
            batched: Quantity(batches.iter().map(|batch| batch.quantity.0).sum()),
            unit_cost: None,
            negative_stock: None,
            created_at: NOW,
            created_by: String::new(),
            version: 1,
            updated_at: NOW,
            updated_by: String::new(),
            deleted_at: None,
        };
        There::new(item, batches, NOW)
    }

    fn planned(there: &There, wanted: i64) -> (Vec<(&str, i64)>, i64, i64) {
        let plan = there.plan(wanted);
        let code = |id: BatchId| there.batches.iter().find(|batch| batch.id == id).map(|batch| batch.code.as_str());
        let lines = plan.lines.iter().map(|(id, taken)| (code(*id).unwrap_or_default(), *taken)).collect();
        (lines, plan.loose, plan.missing)
    }

    #[test]
    fn what_expires_first_is_taken_first_then_what_came_first_then_what_is_in_no_batch() {
        let batches = vec![
            batch("never, later", 5, None, 20, "passed"),
            batch("never, sooner", 5, None, 10, "pending"),
            batch("late", 5, Some(3_000), 1, "passed"),
            batch("soon, later", 5, Some(2_000), 9, "passed"),
            batch("soon, sooner", 5, Some(2_000), 8, "passed"),
            batch("expired", 7, Some(1_000), 1, "passed"),
            batch("failed", 9, Some(1_500), 1, "failed"),
        ];
        let there = there(44, 2, batches);
        assert_eq!((there.unusable(), there.loose(), there.usable(), there.free()), (16, 3, 28, 26));
        let order = ["soon, sooner", "soon, later", "late", "never, sooner", "never, later"];
        for (wanted, counts, loose, missing) in [
            (1, vec![1], 0, 0),
            (5, vec![5], 0, 0),
            (6, vec![5, 1], 0, 0),
            (25, vec![5; 5], 0, 0),
            (27, vec![5; 5], 2, 0),
            (40, vec![5; 5], 3, 12),
        ] {
            let lines: Vec<_> = order.into_iter().zip(counts).collect();
            assert_eq!(planned(&there, wanted), (lines, loose, missing), "{wanted}");
        }
    }

    #[test]
    fn never_more_can_be_taken_than_the_item_has() {
        let short = there(4, 0, vec![batch("A", 10, None, 1, "passed")]);
        assert_eq!((short.loose(), short.usable(), short.free()), (0, 4, 4));
        let below = there(-3, 0, vec![]);
        assert_eq!((below.loose(), below.usable(), planned(&below, 1).2), (0, -3, 1));
        let quarantined = there(10, 4, vec![batch("A", 10, None, 1, "failed")]);
        assert_eq!(quarantined.free(), -4);
    }
}
