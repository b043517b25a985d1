//! Amounts as whole numbers: money in minor units, quantities at their item's scale, rates in
//! nano units. Not for floats: rounding is a decision that is named where it is taken.

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! amount {
    ($(#[$text:meta])* $name:ident) => {
        $(#[$text])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize, ToSchema, DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// Returns the sum, or nothing where it does not fit.
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// Returns the difference, or nothing where it does not fit.
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }
    };
}

amount! {
    /// An amount of money in the currency's minor unit (cents for EUR); the currency stands beside it.
    Money
}
amount! {
    /// An amount of something, in units of its item's scale (scale 3: thousandths).
    Quantity
}
amount! {
    /// A price per unit in billionths of the currency's major unit.
    Rate
}
