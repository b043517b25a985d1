//! Says where the servers of an upstream are, and keeps saying it. Not for calling them.
