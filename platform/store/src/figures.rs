//! Figures of one tenant's rows instead of the rows: counts, sums and groups that the engine works out.
//! They start at a [`Scoped`] query and keep its tenant. Not for reading rows.

use kernel::Result;
use sea_orm::sea_query::{Alias, Expr, Order, SelectStatement, SimpleExpr};
use sea_orm::{ConnectionTrait as _, FromQueryResult, QuerySelect as _, QueryTrait as _};

use crate::scope::{Scoped, TenantRow};
use crate::session::Session;

/// A question for figures of one tenant's rows.
#[must_use = "a query does nothing until it is run"]
pub struct Figures<'s> {
    session: &'s Session,
    select: SelectStatement,
}

impl<'s, E: TenantRow> Scoped<'s, E> {
    /// Gives figures of these rows instead of the rows themselves.
    pub fn figures(self) -> Figures<'s> {
        Figures { session: self.session, select: self.select.select_only().into_query() }
    }
}

impl Figures<'_> {
    /// Adds a figure under a name. On PostgreSQL a sum of whole numbers is none until it is cast.
    pub fn figure(mut self, name: &'static str, value: impl Into<SimpleExpr>) -> Self {
        self.select.expr_as(value, Alias::new(name));
        self
    }

    /// Gives one row of figures for each value of this.
    pub fn group_by(mut self, value: impl Into<SimpleExpr>) -> Self {
        self.select.add_group_by([value.into()]);
        self
    }

    /// Keeps the groups that meet this condition too.
    pub fn having(mut self, condition: impl Into<Expr>) -> Self {
        self.select.and_having(condition.into());
        self
    }

    /// Sorts by this, after what was named before.
    pub fn order_by(mut self, value: impl Into<SimpleExpr>, order: Order) -> Self {
        self.select.order_by_expr(value.into(), order);
        self
    }

    /// Gives at most this many rows.
    pub fn limit(mut self, rows: u64) -> Self {
        self.select.limit(rows);
        self
    }

    /// Runs the query and gives all rows; set a limit where there are groups.
    pub async fn all<T: FromQueryResult>(self) -> Result<Vec<T>> {
        let lent = self.session.lend().await?;
        let rows = lent.query_all(&self.select).await;
        let read = rows.and_then(|rows| rows.iter().map(|row| T::from_query_result(row, "")).collect());
        lent.check(read)
    }

    /// Runs the query and gives its first row; without groups there is always one.
    pub async fn one<T: FromQueryResult>(self) -> Result<Option<T>> {
        Ok(self.limit(1).all().await?.into_iter().next())
    }
}
