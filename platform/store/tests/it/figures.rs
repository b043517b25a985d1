//! Figures keep to the tenant as rows do, behind both walls and behind each alone.

use sea_orm::ColumnTrait as _;
use sea_orm::FromQueryResult;
use sea_orm::sea_query::{Alias, Condition, Expr, ExprTrait as _, Func, Order, SimpleExpr};
use store::{Engine, Walls};

use crate::ground::{self, add, engines};
use crate::shop::{self, shelf};

#[derive(Debug, PartialEq, Eq, FromQueryResult)]
struct Group {
    name: String,
    count: i64,
}

fn count() -> SimpleExpr {
    SimpleExpr::from(Func::count(Expr::val(1i64))).cast_as(Alias::new("BIGINT"))
}

#[tokio::test]
async fn figures_are_of_the_tenants_rows_only() {
    for database in engines().await {
        let store = ground::open(&database).await;
        let (mine, theirs) = (shop::tenant(&store, "mine").await, shop::tenant(&store, "theirs").await);
        for (tenant, name) in [(mine, "a"), (mine, "b"), (mine, "a"), (theirs, "a"), (theirs, "c")] {
            add(&store, tenant, name).await.expect("adds");
        }
        let filter_alone = Walls { filter: true, row_security: false };
        let mut walls = vec![Walls::default(), filter_alone];
        if store.engine() == Engine::Postgres {
            walls.push(Walls { filter: false, row_security: true });
        }
        for walls in walls {
            let store = ground::open_with(&database, |config| config.walls = walls).await;
            let ctx = shop::ctx(mine);
            let reader = store.read(&ctx).await.expect("opens");
            let anything = Condition::any().add(Expr::value(1).eq(1)).add(shelf::Column::TenantId.eq(theirs));
            let groups = || {
                let rows = reader.select::<shelf::Entity>().filter(anything.clone()).figures();
                let figures = rows.figure("name", Expr::col(shelf::Column::Name)).figure("count", count());
                let grouped = figures.group_by(Expr::col(shelf::Column::Name));
                grouped.order_by(Expr::col(Alias::new("count")), Order::Desc)
            };
            let group = |name: &str, count| Group { name: name.to_owned(), count };
            let all: Vec<Group> = groups().all().await.expect("figures");
            assert_eq!(all, [group("a", 2), group("b", 1)], "{walls:?}");
            let many: Vec<Group> = groups().having(count().gt(1i64)).all().await.expect("figures");
            assert_eq!(many, [group("a", 2)]);
            assert_eq!(groups().one::<Group>().await.expect("figures"), Some(group("a", 2)));
            assert_eq!(groups().limit(1).all::<Group>().await.expect("figures").len(), 1);
        }
    }
}
