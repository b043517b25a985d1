//! What tests stand on: a fresh database of either engine, the real door over real services in
//! memory, tenants with people and tokens, and the sweep that tries every operation as everybody.
//! Not for mocks: only the socket is left out.

mod alike;
mod app;
mod away;
mod database;
mod digest;
mod door;
mod listen;
mod people;
mod request;
mod signature;
mod stream;
mod sweep;

pub use app::TestApp;
pub use database::{Database, engines, postgres_url};
pub use people::TestTenant;
pub use request::{TestRequest, TestResponse};
pub use signature::webhook_signature;
pub use stream::{Block, TestStream};
pub use sweep::{Attempt, Expect, Sweep};
