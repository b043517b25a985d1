//! Checks access tokens that others have issued. Not for the installation's own tokens.
