//! What a route asks of requests and answers. Not for who somebody is.
