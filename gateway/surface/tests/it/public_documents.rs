//! Documents that others wrote, where they lie beside the checkout in `shared/data/openapi`: all of them
//! at once under one door. Skipped, and said so, where the folder is not. Not for rules; the other files
//! have those.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use surface::{Door, Route, Source};

use crate::house::assert_whole;

/// Seen from the crate's folder.
const FOLDER: &str = "../../../shared/data/openapi";

fn documents() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read(&path).expect("reads");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Some((name, serde_json::from_slice(&text).expect("JSON")))
    };
    files.into_iter().filter_map(read).collect()
}

#[test]
fn all_of_them_unite_whole() {
    let documents = documents();
    if documents.is_empty() {
        println!("SKIPPED: there is no {FOLDER}");
        return;
    }
    let mut sources = Vec::new();
    for (name, document) in documents {
        let route = Route { path: format!("/{name}/{{*rest}}"), upstream: "/{*rest}".to_owned(), ..Route::default() };
        sources.push(Source::upstream(&name, Arc::new(document), vec![route]));
    }
    let own = json!({ "info": { "title": "All", "version": "1" },
        "components": { "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } } } });
    let united = surface::unite(&Door::of(&own, vec![json!({ "bearer": [] })]), &sources).expect("unites");
    assert_whole(&united.document);
    for finding in &united.findings {
        println!("{finding}");
    }
    for (name, shown) in &united.shown {
        println!("{name}: {shown} operations");
        assert!(*shown > 0, "nothing of {name} is shown");
    }
    assert!(surface::compare(&united.document, &surface::fold(&united.document)).is_empty());
    let collection = surface::collection(&united.document, &surface::Hints::default());
    assert!(!collection["item"].as_array().expect("folders").is_empty());
    surface::to_yaml(&united.document).expect("writes");
}
