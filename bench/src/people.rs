//! Databases full of people who all have the same password, and requests of theirs. One hash serves
//! all, so that a hundred thousand people cost no hour of argon2id. Not for measuring.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use identity::{Authenticator, Identity, NewMember, RolePermissions, Settings};
use kernel::{Clock, TenantId};
use service::Role;
use store::{Config, Engine, Purpose, Store};
use testkit::Database;

use crate::client::{Connection, get, post};
use crate::{Outcome, Plan, say};

/// The password of everybody.
pub const PASSWORD: &str = "seven otters juggle lamps";
/// The salt of everybody's password.
pub const SALT: &[u8] = b"sixteen bytes ok";
/// How many people are in an organisation.
const MEMBERS: usize = 10;
/// How many organisations are made in one transaction.
const BATCH: usize = 200;
/// How many people are added at the same time; SQLite commits them in groups.
const AT_ONCE: usize = 64;

/// A database with people in it.
pub struct People {
    database: Database,
    pub tenants: usize,
    /// API tokens of all people, one person after the other.
    pub tokens: Vec<String>,
}

/// Returns the name of an engine.
pub fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}

/// The hash that the default settings ask for.
pub fn argon2() -> Outcome<Argon2<'static>> {
    let settings = Settings::default();
    let params = Params::new(settings.password_memory_kib, settings.password_passes, 1, None);
    let params = params.map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Returns the stored form of everybody's password.
pub fn stored_password() -> Outcome<String> {
    let hashed = argon2()?.hash_password_with_salt(PASSWORD.as_bytes(), SALT);
    Ok(hashed.map_err(|error| error.to_string())?.to_string())
}

/// Checks everybody's password, as a server does.
pub fn check_password(argon2: &Argon2<'static>, stored: &str) -> bool {
    PasswordVerifier::<str>::verify_password(argon2, PASSWORD.as_bytes(), stored).is_ok()
}

impl People {
    /// Makes a database with so many organisations of ten people, and so many API tokens for each.
    pub fn make(plan: &Plan, engine: Engine, tenants: usize, tokens_each: usize) -> Outcome<Self> {
        let began = Instant::now();
        let (database, tokens) = plan.runtime.block_on(async {
            let database = Database::new(engine).await;
            let services = portico::services::described();
            store::register_constraints(services.iter().flat_map(|service| service.constraints.clone()).collect());
            store::migrate(&database.config, &portico::services::migrations(&services), &Clock::system()).await?;
            let config = Config { connections: 16, acquire_timeout_ms: 60_000, ..database.config.clone() };
            let store = Store::open(config, Clock::system()).await?;
            let tokens = fill(&store, tenants, tokens_each).await?;
            store::assign_positions(&store).await?;
            store.close().await;
            Outcome::Ok((database, tokens))
        })?;
        let (engine, count, took) = (name(engine), tenants * MEMBERS, began.elapsed().as_secs_f64());
        say(format!("{engine}: {count} people and {} tokens in {tenants} tenants, {took:.1} s", tokens.len()));
        Ok(Self { database, tenants, tokens })
    }

    pub fn count(&self) -> usize {
        self.tenants * MEMBERS
    }

    /// Returns how a store opens the database.
    pub fn config(&self) -> &Config {
        &self.database.config
    }

    /// Returns the API tokens of the first organisation's people.
    pub fn first_tenant(&self) -> &[String] {
        &self.tokens[..self.tokens.len() / self.tenants]
    }

    pub fn url(&self) -> &str {
        &self.database.config.url
    }

    /// Opens the database in this process.
    pub fn store(&self, plan: &Plan) -> Outcome<Store> {
        Ok(plan.runtime.block_on(Store::open(self.database.config.clone(), Clock::system()))?)
    }

    /// Returns a sign-in of one of the people, from an address of their own.
    pub fn login(&self, person: usize) -> Vec<u8> {
        let body = format!(r#"{{"email":"{}","password":"{PASSWORD}"}}"#, email(person));
        post("/api/auth/login", &body, person as u32)
    }

    /// Signs one of the people in and returns the access token.
    pub fn access_token(&self, connection: &mut Connection, person: usize) -> Outcome<String> {
        let (answer, _) = connection.timed(&self.login(person))?;
        answer.text("accessToken").ok_or_else(|| "a sign-in gave no access token".into())
    }
}

/// Returns a request for who the bearer of a token is.
pub fn who_am_i(token: &str) -> Vec<u8> {
    get("/api/auth/me", Some(token))
}

/// Returns the authenticator of a gateway over this store.
pub fn authenticator(plan: &Plan, store: &Store) -> Outcome<Authenticator> {
    let identity = Identity::new(Settings::default())?;
    plan.runtime.block_on(identity.open_to_verify(store))?;
    let roles = RolePermissions::of(&portico::services::described());
    Ok(Authenticator::new(identity, store.clone(), roles))
}

/// Returns the short name of the organisation that a person is in.
pub fn slug(person: usize) -> String {
    format!("tenant-{}", person / MEMBERS)
}

fn email(person: usize) -> String {
    format!("person-{person}@bench.example")
}

async fn fill(store: &Store, tenants: usize, tokens_each: usize) -> Outcome<Vec<String>> {
    let mut ids: Vec<TenantId> = Vec::with_capacity(tenants);
    while ids.len() < tenants {
        let system = store.system(Purpose::Bootstrap).await?;
        for number in ids.len()..tenants.min(ids.len() + BATCH) {
            ids.push(system.create_tenant(&slug(number * MEMBERS), "An organisation").await?.id);
        }
        system.commit().await?;
    }
    let (ids, stored, next) = (Arc::new(ids), Arc::new(stored_password()?), Arc::new(AtomicUsize::new(0)));
    let adder = || {
        let (store, ids, stored, next) = (store.clone(), ids.clone(), stored.clone(), next.clone());
        tokio::spawn(async move {
            let mut tokens = Vec::new();
            loop {
                let person = next.fetch_add(1, Ordering::Relaxed);
                let Some(tenant) = ids.get(person / MEMBERS) else { return Outcome::Ok(tokens) };
                let role = if person.is_multiple_of(MEMBERS) { Role::Admin } else { Role::Staff };
                let (name, email) = (format!("Person {person}"), email(person));
                let password_hash = Some(stored.as_ref().clone());
                let new = NewMember { name: &name, email: Some(&email), password_hash, superadmin: false };
                let member = identity::add_member(&store, *tenant, &new, role).await?;
                for _ in 0..tokens_each {
                    tokens.push((person, identity::issue_token(&store, member, "bench").await?));
                }
            }
        })
    };
    let mut tokens = Vec::new();
    for adding in (0..AT_ONCE).map(|_| adder()).collect::<Vec<_>>() {
        tokens.extend(adding.await??);
    }
    tokens.sort_by_key(|(person, _)| *person);
    Ok(tokens.into_iter().map(|(_, token)| token).collect())
}
