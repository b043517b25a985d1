//! The export, to a collector that decodes what it gets; one file per concern.

automod::dir!("tests/it");
