//! Named places at which a test may stop, delay or fail the process, to prove that nothing is lost
//! there. Asleep unless a plan is armed: then each place counts how often it was passed. Not for
//! behaviour: no product code asks what is armed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kernel::{Error, Result};

/// What happens at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAction {
    /// The process ends at once, as with `kill -9`.
    Abort,
    /// The work fails there, as if the database had gone away.
    Error,
    /// The work waits there.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct Plan {
    armed: BTreeMap<String, (u64, FaultAction)>,
    hits: BTreeMap<String, u64>,
}

/// Whether anything is armed or watched; the only thing that an unarmed process looks at.
static AWAKE: AtomicBool = AtomicBool::new(false);
static PLAN: Mutex<Plan> = Mutex::new(Plan { armed: BTreeMap::new(), hits: BTreeMap::new() });

fn plan() -> std::sync::MutexGuard<'static, Plan> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arms a place: after it was passed `after` times from now, the action happens there, once. A name
/// with `@` and a subscription, job or saga after it means that one only.
pub fn arm(name: impl Into<String>, after: u64, action: FaultAction) {
    plan().armed.insert(name.into(), (after, action));
    AWAKE.store(true, Ordering::SeqCst);
}

/// Arms what a text such as `relay.after_commit:3:abort,consume.before_mark:0:delay=250` asks for:
/// name, how often it passes before, and `abort`, `error` or `delay=` milliseconds.
pub fn arm_all(text: &str) -> Result<()> {
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || Error::invalid("config.invalid", format!("no fault: {part}; write NAME:COUNT:ACTION"));
        let mut fields = part.splitn(3, ':');
        let (Some(name), Some(after), Some(action)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(wrong());
        };
        let action = match (action, action.strip_prefix("delay=").map(str::parse)) {
            ("abort", _) => FaultAction::Abort,
            ("error", _) => FaultAction::Error,
            (_, Some(Ok(milliseconds))) => FaultAction::Delay(Duration::from_millis(milliseconds)),
            _ => return Err(wrong()),
        };
        arm(name, after.parse().map_err(|_| wrong())?, action);
    }
    Ok(())
}

/// Starts counting how often places are passed, without arming any.
pub fn watch() {
    AWAKE.store(true, Ordering::SeqCst);
}

/// Takes back what is armed, and forgets the counts.
pub fn disarm() {
    AWAKE.store(false, Ordering::SeqCst);
    *plan() = Plan::default();
}

/// Returns how often a place was passed since counting began.
pub fn hits(name: &str) -> u64 {
    plan().hits.get(name).copied().unwrap_or(0)
}

/// Says whether what was armed here has not happened yet.
pub fn is_armed(name: &str) -> bool {
    plan().armed.contains_key(name)
}

/// Marks a place. Costs one relaxed load unless a plan is armed.
pub async fn point(name: &str) -> Result<()> {
    point_at(name, "").await
}

/// Marks a place in the work of one subscription, job or saga.
pub async fn point_at(name: &str, whose: &str) -> Result<()> {
    if !AWAKE.load(Ordering::Relaxed) {
        return Ok(());
    }
    pass(name, whose).await
}

#[cold]
async fn pass(name: &str, whose: &str) -> Result<()> {
    match due(name, whose) {
        None => Ok(()),
        Some(FaultAction::Abort) => std::process::abort(),
        Some(FaultAction::Error) => Err(Error::unavailable("store.fault", "a test made this fail").context(name)),
        Some(FaultAction::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(())
        }
    }
}

fn due(name: &str, whose: &str) -> Option<FaultAction> {
    let mut plan = plan();
    let mut happens = None;
    let of_one = (!whose.is_empty()).then(|| format!("{name}@{whose}"));
    for key in std::iter::once(name.to_owned()).chain(of_one) {
        if let Some((after, action)) = plan.armed.get_mut(&key) {
            if *after == 0 {
                happens = Some(*action);
                plan.armed.remove(&key);
            } else {
                *after -= 1;
            }
        }
        *plan.hits.entry(key).or_insert(0) += 1;
    }
    happens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_place_fails_once_and_when_it_was_asked_to() {
        point("fault.test").await.expect("asleep");
        assert_eq!(hits("fault.test"), 0);
        arm("fault.test@one", 1, FaultAction::Error);
        point_at("fault.test", "one").await.expect("not yet");
        point_at("fault.test", "other").await.expect("not this one");
        assert_eq!(point_at("fault.test", "one").await.expect_err("now").code(), "store.fault");
        point_at("fault.test", "one").await.expect("once");
        assert_eq!((hits("fault.test"), hits("fault.test@one"), is_armed("fault.test@one")), (4, 3, false));
        for wrong in ["x", "x:1", "x:y:abort", "x:1:explode", "x:1:delay=soon"] {
            assert_eq!(arm_all(wrong).expect_err("refused").code(), "config.invalid", "{wrong}");
        }
        arm_all(" fault.two:0:delay=1, ,").expect("armed");
        assert!(is_armed("fault.two"));
        disarm();
        assert!(!is_armed("fault.two"));
    }
}
