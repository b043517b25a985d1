//! One OpenAPI document out of many, and what is made of it: the document that the door shows, its
//! parts as YAML, the difference of two of them in words, and a Postman collection. Pure: JSON in,
//! JSON out. Not for fetching documents or serving them; `Shelf` says what to fetch and when.

mod classes;
mod diff;
mod diff_schema;
mod example;
mod finish;
mod fold;
mod gather;
mod kinds;
mod modern;
mod operations;
mod part;
mod pointer;
mod postman;
mod published;
mod select;
mod shaped;
mod shelf;
mod source;
mod template;
mod unite;
mod yaml;

pub use diff::{Change, Weight, compare};
pub use fold::fold;
pub use part::part;
pub use postman::{Again, Hint, Hints, collection};
pub use published::{Published, Shown};
pub use shelf::{Asked, Config as ShelfConfig, Shelf, Taken, Want};
pub use source::{Access, Door, Finding, Paths, Route, Shape, Source, United};
pub use unite::unite;
pub use yaml::to_yaml;
