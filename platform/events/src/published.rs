//! An event on its way to many: what is written of it is written once, by the first who asks. Not
//! for choosing who gets it.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use store::EventRow;

use crate::cloud_event::CloudEvent;

/// An event on its way to those who are joined.
#[derive(Debug)]
pub struct Published {
    /// Its place in the log.
    pub position: i64,
    /// The event.
    pub event: EventRow,
    epoch: Arc<str>,
    written: OnceLock<Written>,
}

/// A frame of an event stream, and where in it the document is.
#[derive(Debug)]
struct Written {
    frame: Bytes,
    document: Range<usize>,
}

impl Published {
    /// Returns an event of the log with this epoch.
    pub fn new(epoch: Arc<str>, event: EventRow) -> Self {
        Self { position: event.position.unwrap_or_default(), event, epoch, written: OnceLock::new() }
    }

    /// Returns the event as a CloudEvents document.
    pub fn json(&self) -> Bytes {
        let written = self.written();
        written.frame.slice(written.document.clone())
    }

    /// Returns the event as a frame of an event stream: `id`, `event` and `data`.
    pub fn frame(&self) -> Bytes {
        self.written().frame.clone()
    }

    fn written(&self) -> &Written {
        self.written.get_or_init(|| {
            let json = CloudEvent::of(&self.event).json();
            let mut frame = String::with_capacity(json.len() + 128);
            let _ = write!(frame, "id: {}.{}\nevent: {}\ndata: ", self.epoch, self.position, self.event.kind);
            let document = frame.len()..frame.len() + json.len();
            frame.push_str(&json);
            frame.push_str("\n\n");
            Written { frame: frame.into(), document }
        })
    }
}
