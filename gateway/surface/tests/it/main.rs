//! Documents of all kinds, united, compared and turned into collections. Not for HTTP.

automod::dir!("tests/it");
