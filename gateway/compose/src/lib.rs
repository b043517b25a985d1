//! Makes one answer out of several. Not for how a part is called.
