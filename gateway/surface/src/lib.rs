//! Unites OpenAPI documents. Not for serving them.
