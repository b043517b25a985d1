//! Python and the packages that suites use of it.
//!
//! For: finding Python and installing the pinned wheels of `xtask/conformance/NAME` under `target/tools`,
//! once for each list. Not for: running anything; each suite starts Python itself.

use std::path::PathBuf;

use crate::workspace::{self, Outcome};

/// Python, and where its packages are.
pub struct Python {
    pub program: PathBuf,
    pub packages: PathBuf,
}

/// Makes Python ready for the suite of this name.
pub fn prepare(name: &str) -> Outcome<Python> {
    install(&format!("conformance-{name}-python"), &format!("xtask/conformance/{name}/requirements.txt"))
}

/// Installs a list of pinned wheels in a folder of the tools.
pub fn install(folder: &str, list: &str) -> Outcome<Python> {
    let program = ["python3", "python"]
        .into_iter()
        .find_map(workspace::on_path)
        .ok_or("there is no Python on the PATH; install Python 3.11 or newer with pip")?;
    let packages = workspace::target_folder().join("tools").join(folder);
    let pinned = workspace::read(list)?;
    let stamp = packages.join("pinned.txt");
    if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&pinned) {
        let cannot = |error: std::io::Error| format!("cannot prepare the folder of Python's packages: {error}");
        if packages.exists() {
            std::fs::remove_dir_all(&packages).map_err(cannot)?;
        }
        std::fs::create_dir_all(&packages).map_err(cannot)?;
        let mut install = workspace::program(&program);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        install.args(["--only-binary", ":all:", "--require-hashes", "--requirement", list, "--target"]);
        workspace::run(install.arg(&packages).env("PIP_ROOT_USER_ACTION", "ignore"))?;
        std::fs::write(&stamp, &pinned).map_err(cannot)?;
    }
    let version = workspace::quiet_output(workspace::program(&program).arg("--version")).unwrap_or_default();
    let pins = pinned
        .lines()
        .filter_map(|line| line.split_once("=="))
        .map(|(name, rest)| format!("{name} {}", rest.trim_end_matches(['\\', ' '])));
    println!("{}, {}", version.trim(), pins.collect::<Vec<_>>().join(", "));
    Ok(Python { program, packages })
}
