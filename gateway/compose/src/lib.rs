//! Makes one answer out of several: parts that run side by side or after each other under one deadline,
//! each required, optional or with a fallback. Not for how a part is called (the door walks it through
//! its own routes, with the caller's rights), and not for writes of several steps: those are sagas.

mod answer;
mod config;
mod recipe;
mod run;
mod template;

pub use answer::{Answer, PartError};
pub use config::{Config, Mode, PartConfig};
pub use recipe::Recipe;
pub use run::{Inputs, PartRequest, run};
pub use template::{Document, Template};
