//! The command line: what can be asked, and what it prints. Not for the work itself.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use kernel::{Clock, Result};

use crate::config::{self, Config};
use crate::data_folder::DataFolder;
use crate::events_command::Events;
use crate::gateway_command::{self, Gateway};
use crate::inventory_command::{self, Inventory};
use crate::openapi_command::{self, Openapi};
use crate::tasks_command::{self, Tasks};
use crate::{admin, data, docs, doctor, events_command, health, logging, operator, serve, services};

/// The back end behind one front door.
#[derive(Debug, Parser)]
#[command(name = "portico", version, about, max_term_width = 100)]
struct Line {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Settings {
    /// The configuration file; `portico.toml` in the present folder when it is there
    #[arg(long, global = true, env = "PORTICO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data, keys and the lock lie
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The database: sqlite:PATH or postgres://user:password@host/database
    #[arg(long, global = true, value_name = "URL")]
    store_url: Option<String>,
    /// Any setting, such as --set server.in_flight=100; may be given often
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server (the default)
    Serve {
        /// The address to listen on, such as 0.0.0.0:8080
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// What runs here: all, or gateway and names of services, with commas
        #[arg(long, value_name = "ROLES")]
        roles: Option<String>,
    },
    /// Bring the database's schema up to date
    Migrate,
    /// Look for what is wrong with configuration, data folder and database
    Doctor,
    /// What whoever runs the installation does by hand
    #[command(subcommand)]
    Admin(Admin),
    /// What subscriptions of the event log have done, and what to do when one is stuck
    #[command(subcommand)]
    Events(Events),
    /// The work in the background: what waits, what runs, what failed
    #[command(subcommand)]
    Tasks(Tasks),
    /// Stock and its ledger
    #[command(subcommand)]
    Inventory(Inventory),
    /// The gateway's file and routes: check, explain, list
    #[command(subcommand)]
    Gateway(Gateway),
    /// Print the OpenAPI document, or make something of it
    Openapi {
        #[command(subcommand)]
        what: Option<Openapi>,
    },
    /// Show the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write everything to one file; works while a server runs
    Backup {
        /// The file to make
        file: PathBuf,
    },
    /// Fill an empty database from a backup
    Restore {
        /// The file that `portico backup` made
        file: PathBuf,
    },
    /// Copy everything from one database to another, SQLite or PostgreSQL, and compare
    Transfer {
        /// The database to read
        #[arg(long, value_name = "URL")]
        from: String,
        /// The empty database to fill
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

#[derive(Debug, Subcommand)]
enum Admin {
    /// Make a one-use sign-in code for an administrator
    SignIn {
        /// The organisation's short name
        #[arg(long, default_value = "main")]
        organization: String,
    },
    /// Make a new key that access tokens are signed with; nobody is signed out
    RotateKeys {
        /// Sign with it at once, not after everybody who verifies tokens has met it
        #[arg(long)]
        at_once: bool,
        /// The old key may be known to others: remove it at once; clients refresh their tokens
        #[arg(long)]
        withdraw: bool,
    },
    /// When the master key is lost: remove what was sealed under it; everybody signs in again
    ForgetSecrets {
        /// Do it
        #[arg(long)]
        yes: bool,
    },
    /// Let a person run the platform: enter any organisation, with a reason that it reads
    Superadmin {
        /// The person's id, as `GET /api/auth/me` shows it: addresses of invited people are not confirmed
        user: kernel::UserId,
        /// Take the role away instead
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// The settings in force, secrets hidden
    Show,
    /// The commented file of all settings
    Default,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as server.in_flight=100")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Reads the command line, does what it asks for, and says how it went.
pub fn run() -> ExitCode {
    let line = Line::parse();
    match act(line) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("portico: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(line: Line) -> Result<ExitCode> {
    let mut flags = line.settings.set.clone();
    let mut flag = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            flags.push((key.to_owned(), value.clone()));
        }
    };
    flag("data_dir", &line.settings.data_dir.as_ref().map(|path| path.display().to_string()));
    flag("store.url", &line.settings.store_url);
    let command = line.command.unwrap_or(Command::Serve { listen: None, roles: None });
    if let Command::Serve { listen, roles } = &command {
        flag("server.listen", listen);
        let list = roles.as_ref().map(|roles| {
            let quoted: Vec<String> = roles.split(',').map(|role| format!("{:?}", role.trim())).collect();
            format!("[{}]", quoted.join(", "))
        });
        flag("roles", &list);
    }
    // What needs no settings goes first, so that it works beside a broken file.
    match &command {
        Command::Openapi { what } => return openapi_command::run(what.as_ref()),
        Command::Gateway(Gateway::Example) => {
            print!("{}", gateway::EXAMPLE);
            return Ok(ExitCode::SUCCESS);
        }
        Command::Config(ConfigCommand::Default) => {
            print!("{}", config::DEFAULT_FILE);
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let config = Config::load(line.settings.config.as_deref(), &flags)?;
    logging::start(&config.log)?;
    arm_faults()?;
    #[cfg(target_os = "linux")]
    if matches!(command, Command::Serve { .. }) {
        crate::footing::prepare();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("services").build();
    let runtime = runtime.map_err(|error| kernel::Error::internal("no runtime").source_error(error))?;
    runtime.block_on(async {
        match command {
            Command::Serve { .. } => serve_until_stopped(&config).await.map(|()| ExitCode::SUCCESS),
            Command::Migrate => migrate(&config).await.map(|()| ExitCode::SUCCESS),
            Command::Doctor => doctor::run(&config).await,
            Command::Admin(Admin::SignIn { organization }) => {
                print!("{}", admin::sign_in(&config, &organization).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Admin(Admin::RotateKeys { at_once, withdraw }) => {
                print!("{}", admin::rotate_keys(&config, at_once, withdraw).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Admin(Admin::ForgetSecrets { yes }) => {
                print!("{}", admin::forget_secrets(&config, yes).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Admin(Admin::Superadmin { user, revoke }) => {
                print!("{}", admin::superadmin(&config, user, !revoke).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Events(command) => {
                print!("{}", events_command::run(&config, command).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Tasks(command) => {
                print!("{}", tasks_command::run(&config, command).await?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Inventory(command) => inventory_command::run(&config, command).await,
            Command::Gateway(command) => {
                print!("{}", gateway_command::run(&config, &command)?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Config(_) => {
                print!("{}", config.shown()?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Backup { file } => data::backup(&config, &file).await.map(|()| ExitCode::SUCCESS),
            Command::Restore { file } => data::restore(&config, &file).await.map(|()| ExitCode::SUCCESS),
            Command::Transfer { from, to } => data::transfer(&config, &from, &to).await.map(|()| ExitCode::SUCCESS),
            Command::Openapi { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// A test may ask for the process to fail at a named place: see `store::fault`.
#[expect(clippy::disallowed_methods, reason = "no setting: nobody who runs a server sets it")]
fn arm_faults() -> Result<()> {
    let Ok(plan) = std::env::var("PORTICO_TEST_FAULT") else { return Ok(()) };
    tracing::warn!(plan, "this process will fail on purpose");
    store::fault::arm_all(&plan)
}

/// Returns every service that a full installation has, the process's own too, for reading about them.
pub(crate) fn all_described() -> Vec<service::Service> {
    let states = services::States::new(&Config::default()).expect("the default settings are sound");
    let mut all = services::all(&states);
    let names = all.iter().map(|service| service.name).collect();
    all.push(health::service(names, health::Readiness::default(), std::sync::Arc::default()));
    all.push(docs::service(std::sync::Arc::default()));
    let own = operator::service(states.identity, &all, &[]);
    all.push(own);
    all
}

async fn migrate(config: &Config) -> Result<()> {
    if config.store.sqlite_path().is_some() {
        DataFolder::open(&config.data_dir)?;
    }
    let report = store::migrate(&config.store, &services::migrations(&services::described()), &Clock::system()).await?;
    for step in &report.applied {
        println!("applied {step}");
    }
    println!("{} applied, {} were there already", report.applied.len(), report.present);
    Ok(())
}

async fn serve_until_stopped(config: &Config) -> Result<()> {
    let running = serve::start(config).await?;
    let address = running.address();
    tracing::info!(server.address = %address, server.roles = config.roles.join(","), "listening");
    if let Some(first) = &running.first_start {
        println!("\nThis is the first start. The organisation is called \"{}\".", first.tenant.slug);
        print!("{}", admin::sign_in_text(&first.sign_in.code, &first.sign_in.expires_at.to_string(), address));
    }
    if std::io::stdout().is_terminal() || running.first_start.is_some() {
        println!("\nPortico is at http://{address}, its documentation at http://{address}/docs. Ctrl-C stops it.\n");
    }
    stop_signal().await?;
    tracing::info!("stopping: open requests may end");
    running.stop().await;
    tracing::info!("stopped");
    Ok(())
}

async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error| kernel::Error::internal("signals cannot be received").source_error(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
