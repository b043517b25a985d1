//! Keeps answers and gives them again as RFC 9111 allows. Not for who may see them: the caller's scope is part of the key.
