//! What limits say of a request, in two words that cost nothing to carry. Not for deciding.

/// What the limits say of a request: whether it passes, and which limit is the tightest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict(pub(super) Option<Tightest>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tightest {
    pub index: usize,
    pub refused: bool,
    pub unavailable: bool,
    pub quota: u64,
    pub remaining: u64,
    pub seconds: u64,
}

impl Verdict {
    /// Says whether a limit refuses the request.
    pub fn is_refused(&self) -> bool {
        self.0.is_some_and(|tightest| tightest.refused)
    }

    /// Returns the tighter of two verdicts on the same request.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let (Some(mine), Some(theirs)) = (self.0, other.0) else { return Self(self.0.or(other.0)) };
        let tighter = match (mine.refused, theirs.refused) {
            (true, true) => theirs.seconds > mine.seconds,
            (false, false) => {
                u128::from(theirs.remaining) * u128::from(mine.quota)
                    < u128::from(mine.remaining) * u128::from(theirs.quota)
            }
            (_, refused) => refused,
        };
        Self(Some(if tighter { theirs } else { mine }))
    }
}
