//! `portico openapi`: the document of all services, its parts as YAML, its Postman collection, and
//! what changed since another one. Not for serving it; see `docs`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use kernel::{Error, Result};
use serde_json::Value;
use surface::{Hints, Weight};

use crate::{cli, docs};

/// What the collection needs beyond the document.
const HINTS: &str = include_str!("openapi/postman.json");

/// What can be asked of the document; without a word it is printed as JSON.
#[derive(Debug, Subcommand)]
pub(crate) enum Openapi {
    /// Write bff.yaml, one YAML for each service, portico.json and the Postman collection
    Export {
        /// The folder to fill
        #[arg(long, value_name = "DIR", default_value = "docs/openapi")]
        folder: PathBuf,
    },
    /// Print the Postman collection
    Postman,
    /// Say what changed from one document to another; fails when callers of the first would break
    Diff {
        /// The older document, as JSON
        before: PathBuf,
        /// The newer one; this binary's unless said
        now: Option<PathBuf>,
    },
}

/// Does what was asked for.
pub(crate) fn run(command: Option<&Openapi>) -> Result<ExitCode> {
    match command {
        None => print!("{}", docs::written(&value())),
        Some(Openapi::Postman) => print!("{}", docs::written(&surface::collection(&value(), &hints()))),
        Some(Openapi::Export { folder }) => export(folder)?,
        Some(Openapi::Diff { before, now }) => {
            let now = now.as_deref().map_or_else(|| Ok(value()), read)?;
            let changes = surface::compare(&read(before)?, &now);
            for change in &changes {
                println!("{change}");
            }
            if changes.iter().any(|change| change.weight == Weight::Breaking) {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn value() -> Value {
    service::document(&cli::all_described())
}

fn hints() -> Hints {
    serde_json::from_str(HINTS).expect("the hints are written here")
}

fn export(folder: &Path) -> Result<()> {
    let document = value();
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|error| failed(&file, &error))
    };
    write("portico.json", &docs::written(&document))?;
    write("bff.yaml", &surface::to_yaml(&surface::fold(&document))?)?;
    for tag in document["tags"].as_array().into_iter().flatten() {
        let Some(name) = tag["name"].as_str() else { continue };
        let part = surface::part(&document, |_, _, operation| operation["tags"][0] == name)?;
        // A service without routes of its own has nothing to say.
        if part["paths"].as_object().is_some_and(|paths| !paths.is_empty()) {
            write(&format!("{name}.yaml"), &surface::to_yaml(&surface::fold(&titled(part, name, tag)))?)?;
        }
    }
    write("portico.postman_collection.json", &docs::written(&surface::collection(&document, &hints())))
}

/// Says in the title which service the document is about.
fn titled(mut part: Value, name: &str, tag: &Value) -> Value {
    part["info"]["title"] = format!("Portico: {name}").into();
    part["info"]["description"] = tag["description"].clone();
    part
}

fn read(file: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(file).map_err(|error| failed(file, &error))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::invalid("config.invalid", format!("{} is not JSON: {error}", file.display())))
}

fn failed(file: &Path, error: &std::io::Error) -> Error {
    Error::invalid("config.invalid", format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hints_are_about_operations_that_there_are() {
        let document = value();
        let items = document["paths"].as_object().expect("paths").values();
        let operations = items.flat_map(|item| item.as_object().into_iter().flatten());
        let ids: BTreeSet<&str> = operations.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
        let hints = hints();
        let named = hints.operations.keys().chain(hints.again.iter().map(|again| &again.operation));
        for id in named {
            assert!(ids.contains(id.as_str()), "there is no operation {id}");
        }
        for (id, hint) in &hints.operations {
            assert!(hint.expect.is_none() || hint.why.is_some(), "{id}: why is another answer right?");
        }
    }

    #[test]
    fn what_is_exported_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        export(folder.path()).expect("exports");
        let names: BTreeSet<String> = std::fs::read_dir(folder.path())
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        for name in ["portico.json", "bff.yaml", "inventory.yaml", "identity.yaml", "portico.postman_collection.json"] {
            assert!(names.contains(name), "{names:?}");
        }
        let written = std::fs::read_to_string(folder.path().join("inventory.yaml")).expect("written");
        assert!(written.starts_with("openapi: \"3.1.0\"\n"), "{}", &written[..100]);
        assert!(written.contains("title: \"Portico: inventory\""));
        assert!(!written.contains("/api/webhooks/endpoints"));
    }
}
