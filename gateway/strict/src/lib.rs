//! Refuses what two servers could read in two ways. Not for answering.
