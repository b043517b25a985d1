//! Counts and limits the tokens of streams. Not for prices' sources.
