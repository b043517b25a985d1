//! `portico events`: what whoever runs the installation sees of subscriptions, and does when one is
//! stuck. With a server running it asks the server; otherwise it works on the data itself. Not for
//! what any of it means: see the events crate.

use std::fmt::Write as _;

use clap::Subcommand;
use kernel::{Error, Result, TenantId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::{Place, ask, look};
use crate::config::Config;
use crate::operator_events::{
    self, FORGETS, Known, REPLAYS, RETRIES, Replayed, RetriedStreams, SKIPS, SUBSCRIPTIONS, StreamState,
    SubscriptionState, Subscriptions, WantedForget, WantedReplay, WantedRetry, WantedSkip,
};
use crate::{services, work};

/// What can be asked about subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum Events {
    /// Show where subscriptions stand in the log, and what they could not apply
    List,
    /// Try again what a subscription could not apply
    Retry {
        /// The subscription, as `portico events list` names it
        subscription: String,
        /// Only the streams of this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// Only the stream about this
        #[arg(long, value_name = "ID")]
        subject: Option<String>,
    },
    /// Let a subscription go on without one event
    Skip {
        /// The subscription, as `portico events list` names it
        subscription: String,
        /// The event's position
        position: i64,
        /// Why; the tenant's administrators read it in their log
        #[arg(long)]
        reason: String,
    },
    /// Deliver events again that were delivered before
    Replay {
        /// The subscription or sink, as `portico events list` names it
        subscription: String,
        /// Deliver what comes after this position; 0 means all
        #[arg(long, value_name = "POSITION")]
        from: i64,
        /// Only to this tenant
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        /// Only count what would be delivered
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a subscription or sink that is not in use any more, so that old events can be removed
    Forget {
        /// The subscription or sink, as `portico events list` names it
        subscription: String,
    },
}

/// Does what is asked and returns what a person is shown.
pub(crate) async fn run(config: &Config, command: Events) -> Result<String> {
    match command {
        Events::List => list(config).await,
        Events::Retry { subscription, tenant, subject } => {
            retry(config, WantedRetry { subscription, tenant_id: tenant, subject }).await
        }
        Events::Skip { subscription, position, reason } => {
            skip(config, WantedSkip { subscription, position, reason }).await
        }
        Events::Replay { subscription, from, tenant, dry_run } => {
            replay(config, WantedReplay { subscription, from, tenant_id: tenant, dry_run }).await
        }
        Events::Forget { subscription } => forget(config, WantedForget { subscription }).await,
    }
}

fn known(config: &Config) -> Known {
    Known::of(&services::described(), &work::sinks(config))
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T> {
    let other = "the running server answers otherwise than this version expects: use the command of its version";
    serde_json::from_value(answer).map_err(|error| Error::conflict("server.refused", other).source_error(error))
}

async fn list(config: &Config) -> Result<String> {
    let all: Subscriptions = match Place::find(config).await? {
        Place::Server(address) => read(look(config, address, SUBSCRIPTIONS).await?)?,
        Place::Data(store, _, _lock) => {
            let all = operator_events::standing(&store, &known(config)).await;
            store.close().await;
            all?
        }
    };
    Ok(table(&all.items))
}

async fn retry(config: &Config, wanted: WantedRetry) -> Result<String> {
    let retried: RetriedStreams = match Place::find(config).await? {
        Place::Server(address) => read(ask(config, address, RETRIES, &wanted).await?)?,
        Place::Data(store, _, _lock) => {
            let subject = wanted.subject.as_deref();
            let streams = events::retry(&store, &wanted.subscription, wanted.tenant_id, subject).await;
            store.close().await;
            RetriedStreams { streams: streams? }
        }
    };
    Ok(match retried.streams {
        0 => "Nothing was set aside there: portico events list shows what is.\n".to_owned(),
        1 => "1 stream is tried again at once, or when a server starts.\n".to_owned(),
        streams => format!("{streams} streams are tried again at once, or when a server starts.\n"),
    })
}

async fn forget(config: &Config, wanted: WantedForget) -> Result<String> {
    match Place::find(config).await? {
        Place::Server(address) => {
            ask(config, address, FORGETS, &wanted).await?;
        }
        Place::Data(store, _, _lock) => {
            let forgotten = events::forget(&store, &known(config).names(), &wanted.subscription).await;
            store.close().await;
            forgotten?;
        }
    }
    Ok(format!("{} is forgotten: no events are kept for it any more.\n", wanted.subscription))
}

async fn skip(config: &Config, wanted: WantedSkip) -> Result<String> {
    match Place::find(config).await? {
        Place::Server(address) => {
            ask(config, address, SKIPS, &wanted).await?;
        }
        Place::Data(store, _, _lock) => {
            let dropped = operator_events::drop_event(&store, &wanted).await;
            store.close().await;
            dropped?;
        }
    }
    Ok(format!("{} goes on without the event at {}; the tenant's log says so.\n", wanted.subscription, wanted.position))
}

async fn replay(config: &Config, wanted: WantedReplay) -> Result<String> {
    let replayed: Replayed = match Place::find(config).await? {
        Place::Server(address) => read(ask(config, address, REPLAYS, &wanted).await?)?,
        Place::Data(store, _, _lock) => {
            let WantedReplay { subscription, from, tenant_id, dry_run } = &wanted;
            let known = known(config);
            let replayed =
                events::replay(&store, &known.subscriptions, subscription, *from, *tenant_id, *dry_run).await;
            store.close().await;
            replayed?.into()
        }
    };
    let what = if replayed.done { "are delivered again" } else { "would be delivered again; nothing was changed" };
    let mut text = format!("{} events after position {} {what}.\n", replayed.events, wanted.from);
    if wanted.from < replayed.horizon {
        let _ = writeln!(text, "Up to position {} some are missing, because their time was up.", replayed.horizon);
    }
    Ok(text)
}

fn table(all: &[SubscriptionState]) -> String {
    if all.is_empty() {
        return "There are no subscriptions.\n".to_owned();
    }
    let width = all.iter().map(|one| one.name.len()).chain([12]).max().unwrap_or(12);
    let mut text =
        format!("{:width$}  {:>10}  {:>8}  {:>8}  {:>8}\n", "SUBSCRIPTION", "POSITION", "BEHIND", "RETRYING", "PARKED");
    for one in all {
        let count = |state: &str| one.streams.iter().filter(|stream| stream.state == state).count();
        let (retrying, parked) = (count("retrying"), count("parked"));
        let note = if one.known { "" } else { "  not in use" };
        let _ = writeln!(
            text,
            "{:width$}  {:>10}  {:>8}  {retrying:>8}  {parked:>8}{note}",
            one.name, one.position, one.lag
        );
    }
    for one in all {
        one.streams.iter().for_each(|stream| describe(&mut text, &one.name, stream));
    }
    text
}

fn describe(text: &mut String, subscription: &str, stream: &StreamState) {
    let StreamState { tenant_id, subject, position, kind, attempts, error, code_version, .. } = stream;
    let _ = writeln!(text, "\n{subscription} cannot apply {kind} at {position}, about {subject} of {tenant_id}");
    let next = match stream.next_try_at {
        Some(moment) => format!("tried again at {moment}"),
        None => "not tried again by itself".to_owned(),
    };
    let _ = writeln!(
        text,
        "  {attempts} attempts since {}, last by version {code_version}; {next}; {} wait behind it",
        stream.first_failed_at, stream.waiting
    );
    let _ = writeln!(text, "  {}", error.lines().next().unwrap_or_default());
    let _ = writeln!(text, "  portico events retry {subscription} --tenant {tenant_id} --subject '{subject}'");
    let _ = writeln!(text, "  portico events skip {subscription} {position} --reason '…'");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_to_do_about_a_stuck_stream() {
        let tenant_id = TenantId::new();
        let stream = StreamState {
            tenant_id,
            subject: "itm_1".into(),
            position: 7,
            kind: "inventory.item.adjusted".into(),
            state: "parked".into(),
            attempts: 5,
            error: "server.fault: no good\nsecond line".into(),
            code_version: "0.1.0".into(),
            first_failed_at: kernel::Timestamp(0),
            next_try_at: None,
            waiting: 2,
        };
        let one = SubscriptionState { name: "a.b".into(), position: 9, lag: 3, known: true, streams: vec![stream] };
        let text = table(&[one]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["a.b", "9", "3", "0", "1"]);
        assert!(text.contains("2 wait behind it") && text.contains("no good") && !text.contains("second line"));
        assert!(text.contains(&format!("portico events retry a.b --tenant {tenant_id} --subject 'itm_1'")), "{text}");
        assert!(text.contains("portico events skip a.b 7 --reason"));
    }
}
