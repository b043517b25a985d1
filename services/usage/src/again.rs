//! Does a short transaction again that met another one at the same rows. Not for a database that is away: whoever
//! asked decides then.

use kernel::Result;

/// How often.
const TRIES: u32 = 4;

/// Runs it until it does not meet another one; what it does is whole or not at all.
pub(crate) async fn while_contended<T, F: Future<Output = Result<T>>>(mut run: impl FnMut() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match run().await {
            // Two that reserve under one id: the second then finds what the first made.
            Err(error) if ["store.contention", "store.constraint"].contains(&error.code()) => continue,
            done => return done,
        }
    }
    run().await
}
