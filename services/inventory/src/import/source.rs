//! The file of an import, stored in pieces, and reading it row by row from any place on. One piece is in
//! memory at a time. Not for what a row means.

use std::collections::VecDeque;

use kernel::{Ctx, Id, IdKind, Result, TenantId, Timestamp};
use sea_orm::entity::prelude::*;
use store::Store;

use super::record::{self, ImportId, ImportKind};
use super::split::{Broken, Place, Row, Splitter};

/// How many bytes a piece has; the last one may have fewer.
pub(super) const PIECE: usize = 256 << 10;

/// Marks the ids of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece;
impl IdKind for Piece {
    const PREFIX: &'static str = "ipc";
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "inventory_import_piece")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Id<Piece>,
    pub import_id: Id<ImportKind>,
    pub number: i64,
    pub content: Vec<u8>,
    pub created_at: Timestamp,
    pub created_by: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}
impl ActiveModelBehavior for ActiveModel {}

store::tenant_row!(Entity, Piece);

/// Reads a file.
pub(super) struct Source {
    import: ImportId,
    /// The number of the next piece, and how much of it was read before.
    next: u64,
    skip: usize,
    pieces: u64,
    splitter: Option<Splitter>,
    rows: VecDeque<Row>,
    /// Why the file cannot be read on, if it cannot.
    pub broken: Option<Broken>,
}

impl Source {
    /// Returns a reader from this place on.
    pub fn at(import: &record::Model, place: Place) -> Self {
        let (bytes, piece) = (u64::try_from(import.bytes).unwrap_or(0), PIECE as u64);
        Self {
            import: import.id,
            next: place.position / piece,
            skip: usize::try_from(place.position % piece).unwrap_or(0),
            pieces: bytes.div_ceil(piece),
            splitter: Some(Splitter::new(import.format(), place)),
            rows: VecDeque::new(),
            broken: None,
        }
    }

    /// Returns the next rows, at most so many; none at the end of the file, or where it is broken.
    pub async fn next(&mut self, store: &Store, ctx: &Ctx, most: usize) -> Result<Vec<Row>> {
        while self.rows.len() < most && self.splitter.is_some() {
            self.read(store, ctx).await?;
        }
        Ok(self.rows.drain(..most.min(self.rows.len())).collect())
    }

    async fn read(&mut self, store: &Store, ctx: &Ctx) -> Result<()> {
        if self.next == self.pieces {
            if let Some(splitter) = self.splitter.take() {
                self.broken = splitter.end(&mut self.rows).err();
            }
            return Ok(());
        }
        let reader = store.read(ctx).await?;
        let number = i64::try_from(self.next).unwrap_or(i64::MAX);
        let piece = reader.select_with_deleted::<Entity>().filter(Column::ImportId.eq(self.import));
        let piece = piece.filter(Column::Number.eq(number)).one().await?;
        reader.close().await?;
        let Some(piece) = piece else {
            self.splitter = None;
            self.broken = Some(Broken { line: 0, message: "the file is not kept any more" });
            return Ok(());
        };
        self.next += 1;
        let content = piece.content.get(std::mem::take(&mut self.skip)..).unwrap_or_default();
        if let Some(splitter) = &mut self.splitter
            && let Err(broken) = splitter.take(content, &mut self.rows)
        {
            self.splitter = None;
            self.broken = Some(broken);
        }
        Ok(())
    }
}
