//! Puts futures into boxes without copying them. Not for futures that are small.

use std::pin::Pin;

/// Returns a future in a box. It is made there, which `Box::pin` does not do: that has it on the stack first and
/// copies all the room it may ever need, thousands of bytes for what a request walks through.
#[inline(always)]
pub fn boxed<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_the_future_that_was_made() {
        let text = String::from("made");
        assert_eq!(boxed(|| async { text.len() }).await, 4);
    }
}
