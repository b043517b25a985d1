//! Settings: defaults, then the file, then the environment, then flags. An unknown key is an error,
//! and everything is checked before a socket opens. Not for secrets in code: see `config show`,
//! which hides them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use kernel::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{plain_upstreams, services};

/// The commented file of all settings with their defaults.
pub const DEFAULT_FILE: &str = include_str!("../../config/portico.default.toml");

/// The file that is read when none is named and it is there.
const USUAL_FILE: &str = "portico.toml";
const PREFIX: &str = "PORTICO_";
/// Names with the prefix that belong to the project's own tools, not to a running server.
const NOT_SETTINGS: [&str; 7] = ["TEST_", "CONTRACT_", "CRASH_", "FAULT_", "RESUME_", "UNSYNCED_", "CONFIG"];

/// All settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where data, keys and the lock lie.
    pub data_dir: PathBuf,
    /// What runs in this process: `all`, or `gateway` and names of services.
    pub roles: Vec<String>,
    /// The sockets.
    pub server: Server,
    /// The database.
    pub store: store::Config,
    /// What the process says of its work.
    pub log: Log,
    /// Whoever runs the installation.
    pub operator: Operator,
    /// How people sign in.
    pub identity: identity::Settings,
    /// Letters to people.
    pub mail: Mail,
    /// How people are told what concerns them.
    pub notifications: notifications::Settings,
    /// How tenants' systems are told what changed.
    pub webhooks: webhooks::Settings,
    /// How work is done that outlives a request.
    pub tasks: tasks::EngineConfig,
    /// What rings the doorbell between processes.
    pub redis: Redis,
    /// Where traces go.
    pub telemetry: telemetry::Config,
    /// The key that stored secrets are sealed under, 64 hexadecimal digits; empty means the one in the
    /// data folder, made at the first start.
    pub master_key: String,
    /// The other processes of the installation.
    pub cluster: Cluster,
    /// Where services run that do not run here, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// The gateway's own file.
    pub gateway: Gateway,
}

/// The gateway's own file: upstreams, routes and policies beyond the installation's own services.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// The file; empty means `gateway.toml` in the present folder when it is there.
    pub file: PathBuf,
    /// How often the file is looked at for changes, in milliseconds; 0 means only on SIGHUP.
    pub watch_ms: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { file: PathBuf::new(), watch_ms: 1_000 }
    }
}

impl Gateway {
    /// Returns the file that is read, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        let usual = PathBuf::from("gateway.toml");
        if self.file.as_os_str().is_empty() { usual.exists().then_some(usual) } else { Some(self.file.clone()) }
    }
}

/// The sockets and their limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Whether another server may listen at the address too: a new process starts beside the old one, which then
    /// stops.
    pub share_port: bool,
    /// How many cores the gateway uses; 0 means all.
    pub cores: usize,
    /// The address under which browsers know this server, such as `https://portico.example`; empty
    /// means the host that a request is sent to.
    pub public_url: String,
    /// The networks of the proxies in front, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// How many requests are worked on at a time.
    pub in_flight: usize,
    /// How many checked tokens are remembered; 0 means that each request is checked anew.
    pub token_cache_entries: usize,
    /// How long a checked token is believed, in seconds.
    pub token_cache_seconds: u64,
    /// How long a client may take to send the head of a request, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a request may wait for the head of its answer, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a stopping server goes on accepting after it says that it is not ready, in milliseconds.
    pub drain_notice_ms: u64,
    /// How long open requests may take to end, in milliseconds.
    pub drain_limit_ms: u64,
    /// TLS towards clients; without a certificate connections are plain.
    pub tls: gateway::TlsConfig,
    /// How strictly connections are read, and for how long they are waited for.
    pub limits: strict_http::Config,
}

/// What the process says of its work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Which lines: a level, or `target=level` pairs.
    pub filter: String,
}

/// The formats of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Whoever runs the installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operator {
    /// The operator token; empty means the one in the data folder, made at the first start.
    pub token: String,
}

/// Letters to people.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mail {
    /// Who they come from.
    pub from: String,
    /// Where they go: `smtp://`, `smtps://` or `smtp+starttls://`, with `user:password@host:port`. Empty:
    /// they are left in the data folder.
    pub smtp_url: String,
}

impl Default for Mail {
    fn default() -> Self {
        Self { from: "Portico <portico@localhost>".to_owned(), smtp_url: String::new() }
    }
}

/// A Redis server, or one that speaks its protocol. It holds nothing that cannot be made again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// `redis://host:port/database`; empty means none: then other processes are heard by looking.
    pub url: String,
    /// What the names of channels and streams begin with: one word for each installation.
    pub namespace: String,
    /// About how many events a stream of all events keeps for others to read; 0 means no stream.
    pub stream_events: u64,
}

impl Default for Redis {
    fn default() -> Self {
        Self { url: String::new(), namespace: "portico".to_owned(), stream_events: 0 }
    }
}

/// The other processes of the installation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The secret that all processes share, at least 32 bytes; needed by the split form.
    pub secret: String,
}

/// Where a service runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// `http://host:port`.
    pub url: String,
    /// Whether it is no process of Portico: it is given the contract's paths and told the caller in headers.
    #[serde(default)]
    pub plain: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("portico-data"),
            roles: vec!["all".to_owned()],
            server: Server::default(),
            store: store::Config::default(),
            log: Log::default(),
            operator: Operator::default(),
            identity: identity::Settings::default(),
            mail: Mail::default(),
            notifications: notifications::Settings::default(),
            webhooks: webhooks::Settings::default(),
            tasks: tasks::EngineConfig::default(),
            redis: Redis::default(),
            telemetry: telemetry::Config::default(),
            master_key: String::new(),
            cluster: Cluster::default(),
            upstreams: BTreeMap::new(),
            gateway: Gateway::default(),
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            share_port: false,
            cores: 0,
            public_url: String::new(),
            trusted_proxies: Vec::new(),
            in_flight: 4_096,
            token_cache_entries: 100_000,
            token_cache_seconds: 60,
            header_timeout_ms: 10_000,
            request_timeout_ms: 30_000,
            drain_notice_ms: 0,
            drain_limit_ms: 10_000,
            tls: gateway::TlsConfig::default(),
            limits: strict_http::Config::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl Config {
    /// Reads the settings. `flags` are `key.path = value` pairs from the command line.
    pub fn load(file: Option<&Path>, flags: &[(String, String)]) -> Result<Self> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match file {
            Some(file) if !file.exists() => {
                return Err(Error::invalid(
                    "config.no_file",
                    format!("there is no configuration file {}", file.display()),
                ));
            }
            Some(file) => figment = figment.merge(Toml::file_exact(file)),
            None if Path::new(USUAL_FILE).exists() => figment = figment.merge(Toml::file_exact(USUAL_FILE)),
            None => {}
        }
        let own = |key: &figment::value::UncasedStr| {
            !NOT_SETTINGS.iter().any(|other| key.as_str().to_ascii_uppercase().starts_with(other))
        };
        figment = figment.merge(Env::prefixed(PREFIX).filter(own).split("__"));
        for (key, value) in flags {
            // Numbers, booleans and lists as TOML reads them; anything else is text.
            let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
            let value =
                parsed.and_then(|mut table| table.remove("value")).unwrap_or(toml::Value::String(value.clone()));
            figment = figment.merge(Serialized::default(key, value));
        }
        let mut config: Self = figment.extract().map_err(|error| {
            let text = error.to_string();
            Error::invalid(
                "config.invalid",
                format!("the configuration is not valid: {text}; see `portico config default`"),
            )
        })?;
        plain_upstreams::from_environment(&mut config, from_environment);
        config.check()
    }

    fn check(mut self) -> Result<Self> {
        if self.store.url.is_empty() {
            self.store.url = format!("sqlite:{}", self.data_dir.join("portico.db").display());
        }
        self.store.engine()?;
        self.identity.check()?;
        self.telemetry.check()?;
        services::States::new(&self)?;
        self.server.limits.check()?;
        gateway::TrustedProxies::parse(&self.server.trusted_proxies)?;
        let counts =
            [("server.in_flight", self.server.in_flight), ("store.connections", self.store.connections as usize)];
        if let Some((key, _)) = counts.iter().find(|(_, number)| *number == 0) {
            return Err(Error::invalid("config.invalid", format!("{key} must be at least 1")));
        }
        if self.server.cores == 0 {
            self.server.cores = std::thread::available_parallelism().map_or(1, usize::from);
        }
        for (name, upstream) in &self.upstreams {
            let secure = upstream.plain && upstream.url.starts_with("https://");
            if !secure && !upstream.url.starts_with("http://") {
                return Err(Error::invalid("config.invalid", format!("upstreams.{name}.url must start with http://")));
            }
        }
        Ok(self)
    }

    /// Returns the settings as TOML, with secrets hidden.
    pub fn shown(&self) -> Result<String> {
        let mut shown = self.clone();
        let hide = |text: &mut String| {
            if !text.is_empty() {
                *text = "(hidden)".to_owned();
            }
        };
        hide(&mut shown.operator.token);
        hide(&mut shown.cluster.secret);
        hide(&mut shown.master_key);
        for url in [&mut shown.store.url, &mut shown.store.owner_url, &mut shown.redis.url, &mut shown.mail.smtp_url] {
            *url = without_password(url);
        }
        toml::to_string_pretty(&shown)
            .map_err(|error| Error::internal("the settings cannot be written").source_error(error))
    }
}

/// The names that other installations know, read where all of the environment is.
#[expect(clippy::disallowed_methods, reason = "this is the configuration")]
fn from_environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns a URL with its password hidden, before the host and in the query.
pub fn without_password(url: &str) -> String {
    let mut shown = url.to_owned();
    if let Some((scheme, rest)) = url.split_once("://")
        && let Some((login, host)) = rest.rsplit_once('@')
        && let Some((user, _)) = login.split_once(':')
    {
        shown = format!("{scheme}://{user}:(hidden)@{host}");
    }
    let Some((address, query)) = shown.split_once('?') else { return shown };
    let hide = |pair: &str| match pair.split_once('=') {
        Some(("password", _)) => "password=(hidden)".to_owned(),
        _ => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(hide).collect();
    format!("{address}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_says_the_defaults() {
        let file: Config = Figment::from(Toml::string(DEFAULT_FILE)).extract().expect("the file is valid");
        let said = toml::to_string(&file).expect("writes");
        assert_eq!(said, toml::to_string(&Config::default()).expect("writes"));
    }

    #[test]
    fn a_proxy_that_is_no_network_is_refused() {
        let flags = |list: &str| [("server.trusted_proxies".to_owned(), list.to_owned())];
        let config = Config::load(None, &flags("[\"10.0.0.0/8\", \"::1\"]")).expect("networks");
        assert_eq!(config.server.trusted_proxies, ["10.0.0.0/8", "::1"]);
        let error = Config::load(None, &flags("[\"proxy.example\"]")).expect_err("refused");
        assert!(error.message().contains("proxy.example"), "{}", error.message());
    }

    #[test]
    fn an_unknown_key_is_refused_and_a_password_is_hidden() {
        let flags = [("server.lisen".to_owned(), "127.0.0.1:1".to_owned())];
        let error = Config::load(None, &flags).expect_err("refused");
        assert!(error.message().contains("lisen"), "{}", error.message());
        assert_eq!(without_password("postgres://a:s3cret@h/db"), "postgres://a:(hidden)@h/db");
        assert_eq!(
            without_password("postgres://a@h/db?password=s3cret&a=b"),
            "postgres://a@h/db?password=(hidden)&a=b"
        );
        assert_eq!(without_password("sqlite:portico.db"), "sqlite:portico.db");
    }
}
