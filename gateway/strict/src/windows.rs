//! Follows the flow control of an HTTP/2 connection (RFC 9113, section 5.2) from its frames alone: whether the
//! client has left streams open and lets nothing more be sent on them. What is for it then waits in our memory, and
//! holds what it comes from, where the socket itself is never full. Not for enforcing windows; h2 does.

/// The window of a stream and of a connection until somebody says otherwise.
const USUAL: i64 = 65_535;
/// More than h2 lets be open, with those that it is about to refuse.
const MOST: usize = 1_000;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// What may be sent to a client, on its connection and on each of its streams.
#[derive(Debug)]
pub(crate) struct Windows {
    initial: i64,
    connection: i64,
    /// The streams that we have not ended, and their windows.
    open: Vec<(u32, i64)>,
    last: u32,
    shut: usize,
}

impl Default for Windows {
    fn default() -> Self {
        Self { initial: USUAL, connection: USUAL, open: Vec::new(), last: 0, shut: 0 }
    }
}

impl Windows {
    /// Returns how many streams wait for the client.
    pub(crate) fn shut(&self) -> usize {
        if self.connection <= 0 { self.open.len() } else { self.shut }
    }

    /// Takes note of a frame of the client's; returns whether its streams are too many to follow.
    #[must_use]
    pub(crate) fn came(&mut self, kind: u8, stream: u32) -> bool {
        match kind {
            // Later ones of the same stream are trailers.
            HEADERS if stream > self.last => {
                self.last = stream;
                self.open.push((stream, self.initial));
                self.count();
            }
            RST_STREAM => self.close(stream),
            _ => {}
        }
        self.open.len() <= MOST
    }

    /// Takes note of what is in a frame of the client's: a setting, or an increment.
    pub(crate) fn unit(&mut self, kind: u8, stream: u32, unit: [u8; 6]) {
        let [a, b, c, d, e, f] = unit;
        match kind {
            SETTINGS if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE => {
                let initial = i64::from(u32::from_be_bytes([c, d, e, f]));
                for (_, window) in &mut self.open {
                    *window += initial - self.initial;
                }
                self.initial = initial;
            }
            WINDOW_UPDATE => {
                let increment = i64::from(u32::from_be_bytes([a & 0x7f, b, c, d]));
                if stream == 0 {
                    self.connection += increment;
                } else if let Some((_, window)) = self.open.iter_mut().find(|(number, _)| *number == stream) {
                    *window += increment;
                }
            }
            _ => return,
        }
        self.count();
    }

    /// Takes note of a frame of ours; returns how much of a window it took.
    pub(crate) fn went(&mut self, kind: u8, flags: u8, stream: u32, length: usize) -> usize {
        let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
        let took = if kind == DATA { length } else { 0 };
        if took > 0 {
            self.connection -= took as i64;
            if let Some((_, window)) = self.open.iter_mut().find(|(number, _)| *number == stream) {
                *window -= took as i64;
            }
        }
        if ends || kind == RST_STREAM {
            self.close(stream);
        } else if took > 0 {
            self.count();
        }
        took
    }

    fn close(&mut self, stream: u32) {
        if let Some(place) = self.open.iter().position(|(number, _)| *number == stream) {
            self.open.swap_remove(place);
            self.count();
        }
    }

    fn count(&mut self) {
        self.shut = self.open.iter().filter(|(_, window)| *window <= 0).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(initial: u32) -> [u8; 6] {
        let [c, d, e, f] = initial.to_be_bytes();
        [0, 4, c, d, e, f]
    }

    fn update(increment: u32) -> [u8; 6] {
        let [a, b, c, d] = increment.to_be_bytes();
        [a, b, c, d, 0, 0]
    }

    #[test]
    fn a_stream_waits_for_its_client_while_its_window_is_empty() {
        let mut windows = Windows::default();
        assert!(windows.came(HEADERS, 1) && windows.came(HEADERS, 3));
        assert_eq!(windows.shut(), 0, "an open window, whether or not there is anything to send");
        assert_eq!(windows.went(DATA, 0, 1, 65_535), 65_535);
        assert_eq!(windows.shut(), 2, "the connection's window is empty");
        windows.unit(WINDOW_UPDATE, 0, update(65_535));
        assert_eq!(windows.shut(), 1);
        windows.unit(WINDOW_UPDATE, 1, update(10));
        assert_eq!(windows.shut(), 0);
        windows.unit(SETTINGS, 0, settings(0));
        assert_eq!(windows.shut(), 2, "settings change the windows of all streams");
        windows.unit(SETTINGS, 0, [0, 3, 0, 0, 0, 100]);
        assert!(windows.came(HEADERS, 3), "trailers");
        assert!(windows.came(HEADERS, 5));
        assert_eq!(windows.shut(), 3);
    }

    #[test]
    fn a_stream_that_has_ended_waits_for_nobody() {
        for (kind, flags) in [(DATA, END_STREAM), (HEADERS, END_STREAM | 4), (RST_STREAM, 0)] {
            let mut windows = Windows::default();
            windows.unit(SETTINGS, 0, settings(0));
            assert!(windows.came(HEADERS, 1));
            assert_eq!(windows.went(HEADERS, 4, 1, 30), 0, "the head of an answer");
            assert_eq!(windows.shut(), 1);
            windows.went(kind, flags, 1, 0);
            assert_eq!(windows.shut(), 0);
            assert!(windows.came(HEADERS, 1), "what still comes of its request opens nothing");
            assert_eq!(windows.shut(), 0);
        }
        let mut windows = Windows::default();
        assert!(windows.came(HEADERS, 1));
        windows.went(DATA, 0, 1, 70_000);
        assert!(windows.came(RST_STREAM, 1));
        assert_eq!(windows.shut(), 0);
    }

    #[test]
    fn there_is_an_end_to_the_streams_that_are_followed() {
        let mut windows = Windows::default();
        let followed = (0..).take_while(|number| windows.came(HEADERS, 2 * number + 1)).count();
        assert_eq!(followed, MOST);
    }
}
