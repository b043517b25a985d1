//! Where the workspace is, and how to run programs in it.
//!
//! For: starting cargo and git in the root with a clean environment, with errors that name the
//! command. Not for: deciding what to run; each command does that.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The result of a command: the error is a message for the person at the terminal.
pub type Outcome<T = ()> = Result<T, String>;

/// Returns the root folder of the workspace.
pub fn root() -> PathBuf {
    // Cargo sets the variable at run time; the compiled-in value serves a binary started by hand.
    let own =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

/// Returns the folder that cargo builds into.
pub fn target_folder() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(folder)
}

/// Returns a program that will start in the workspace's root.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root());
    // What `cargo run` tells xtask about itself. Build scripts that watch these variables would
    // otherwise run again each time somebody changes between `cargo` and `cargo xtask`.
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || matches!(text, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE")
        {
            command.env_remove(&name);
        }
    }
    command
}

/// Returns cargo, the same one that started xtask.
pub fn cargo() -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command with its output on the terminal; anything but exit code 0 is an error.
pub fn run(command: &mut Command) -> Outcome {
    println!("$ {}", describe(command));
    let status = command.status().map_err(|error| not_started(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", describe(command))) }
}

/// Runs a command and returns what it wrote to standard output; its errors go to the terminal.
pub fn output(command: &mut Command) -> Outcome<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| not_started(command, &error))?;
    if !output.status.success() {
        return Err(format!("`{}` ended with {}", describe(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{}` printed something that is not UTF-8", describe(command)))
}

/// Runs a command and returns its output, or nothing when it cannot run or fails.
pub fn quiet_output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the message for a program that did not even start.
pub fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}; is it installed and on the PATH?", describe(command))
}

/// Returns a command the way a person would type it.
pub fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Returns `cargo metadata` as JSON.
pub fn metadata(arguments: &[&str]) -> Outcome<Value> {
    let text = output(cargo().args(["metadata", "--format-version", "1"]).args(arguments))?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata is not JSON: {error}"))
}

/// Returns a JSON array's members; nothing for anything else.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the text of a file of the workspace.
pub fn read(path: impl AsRef<Path>) -> Outcome<String> {
    let path = root().join(path);
    std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", short(&path)))
}

/// Writes a file of the workspace, with its folder.
pub fn write(path: impl AsRef<Path>, text: &str) -> Outcome {
    let path = root().join(path);
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| format!("cannot write {}: {error}", short(&path)))
}

/// Returns a path as seen from the root.
pub fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Returns the first folder on the PATH that holds this program.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Installs a Debian package; only root can.
pub fn install_with_apt(package: &str) -> Outcome {
    if on_path("apt-get").is_none() {
        return Err("not this kind of machine".into());
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-y"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    };
    apt(&["update"])?;
    apt(&["install", "--no-install-recommends", package])
}

/// Sends a signal, by its short name, to a child.
pub fn signal(child: &Child, name: &str) {
    // `kill` is part of every shell, yet not a program on every machine; std knows only KILL.
    let script = format!("kill -s {name} {}", child.id());
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// Prints a report; a reader that closes the pipe early (`| head`) is no error.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
