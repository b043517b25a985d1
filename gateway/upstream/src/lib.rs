//! Takes a request to one of the servers of an upstream and brings its answer. Not for which route goes where.
