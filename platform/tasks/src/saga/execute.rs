//! Takes a saga's steps one after the other, and takes them back when one fails. It can go on from every
//! point at which a process may end. Not for what is on disk: see `history`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kernel::{Error, Kind, Result};
use serde_json::Value;
use store::fault;

use super::call::{call, refused, too_late};
use super::history::{Direction, History, Known};
use super::row::SagaState;
use super::{Saga, SagaRun, Step};
use crate::job::{Outcome, Retry, Work};
use crate::run::{self, Run};

/// How often a step is tried that says "not now".
const ATTEMPTS: i64 = 5;
/// After how many failures in a row a saga that is taken back counts as stuck.
const STUCK_AFTER: i64 = 10;
/// How long a saga waits whose kind or version this binary does not know.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(60);

/// Runs sagas of every kind.
pub(super) struct Executor {
    pub sagas: BTreeMap<(String, i64), Saga>,
}

impl Work for Executor {
    fn run<'a>(&'a self, run: &'a mut Run) -> BoxFuture<'a, Result<Outcome>> {
        async move {
            let history = History::read(run).await?;
            let kind = (history.saga.name.clone(), history.saga.version);
            let Some(saga) = self.sagas.get(&kind) else {
                tracing::warn!(
                    saga.name = kind.0,
                    saga.version = kind.1,
                    "a saga waits whose steps are not known here"
                );
                return Ok(Outcome::Later(UNKNOWN_PAUSE));
            };
            let input = serde_json::from_str(&history.saga.input).unwrap_or_default();
            Progress { run, saga, history, input }.go().await
        }
        .boxed()
    }
}

/// One executor's work on one saga.
struct Progress<'r> {
    run: &'r Run,
    saga: &'r Saga,
    history: History,
    input: Value,
}

/// How the way forward ended.
enum Forward {
    Through,
    Later(Duration),
    TakeBack(Error),
}

impl Progress<'_> {
    async fn go(mut self) -> Result<Outcome> {
        if self.history.saga.state == SagaState::Running.name() {
            match self.forward().await? {
                Forward::Through => return Ok(Outcome::Completed),
                Forward::Later(pause) => return Ok(Outcome::Later(pause)),
                Forward::TakeBack(error) => {
                    let (saga, task) = (self.saga.name, self.run.id());
                    tracing::warn!(saga.name = saga, task.id = %task, error = %error, "a saga is taken back");
                    self.history.turn_back(self.run, &error).await?;
                }
            }
        }
        self.backward().await
    }

    async fn forward(&mut self) -> Result<Forward> {
        let saga = self.saga;
        for step in &saga.steps {
            if self.history.known(step.name, Direction::Run) == Some(Known::Done) {
                continue;
            }
            match self.take(step).await? {
                None => {}
                Some(stopped) => return Ok(stopped),
            }
        }
        let last = saga.steps.last().and_then(|step| self.history.results().remove(step.name));
        // Cancelled after the last step is too late: everything has happened, and others may know.
        self.history.complete(self.run, last.unwrap_or_default()).await?;
        Ok(Forward::Through)
    }

    /// Takes one step; gives a reason to go no further.
    async fn take(&mut self, step: &Step) -> Result<Option<Forward>> {
        let left = self.history.saga.deadline.0 - self.run.store().clock().now().0;
        let Some(left) = u64::try_from(left).ok().filter(|left| *left > 0) else {
            return Ok(Some(Forward::TakeBack(too_late())));
        };
        // What was begun before may have had its effect, whatever this attempt says.
        let begun = self.history.known(step.name, Direction::Run).is_some();
        // A step that was begun is ended first: only then is it known what there is to take back.
        let cancelled = self.history.intend(self.run, step.name, Direction::Run).await?;
        if cancelled && !begun {
            return Ok(Some(Forward::TakeBack(run::cancelled())));
        }
        fault::point_at("saga.after_intent", self.saga.name).await?;
        let mut at = self.at(step);
        let answer = call(step.name, Some(Duration::from_micros(left)), step.work.run(&mut at)).await;
        fault::point_at("saga.after_call", self.saga.name).await?;
        let error = match answer {
            Ok(value) => {
                self.history.note(self.run, step.name, Direction::Run, Known::Done, Ok(Some(value))).await?;
                fault::point_at("saga.after_result", self.saga.name).await?;
                return Ok(None);
            }
            Err(error) => error,
        };
        let known = if refused(&error) && !begun { Known::Failed } else { Known::Unknown };
        self.history.note(self.run, step.name, Direction::Run, known, Err(&error)).await?;
        fault::point_at("saga.after_result", self.saga.name).await?;
        let failures = self.history.saga.failures;
        if cancelled {
            return Ok(Some(Forward::TakeBack(run::cancelled())));
        }
        if error.kind() == Kind::Unavailable && failures < ATTEMPTS {
            return Ok(Some(Forward::Later(Retry::default().pause(failures))));
        }
        Ok(Some(Forward::TakeBack(error)))
    }

    /// Takes back, last first, what was done or may have been done.
    async fn backward(&mut self) -> Result<Outcome> {
        let saga = self.saga;
        for step in saga.steps.iter().rev() {
            let taken = matches!(self.history.known(step.name, Direction::Run), Some(Known::Done | Known::Unknown));
            if !taken || self.history.known(step.name, Direction::Undo) == Some(Known::Done) {
                continue;
            }
            self.history.intend(self.run, step.name, Direction::Undo).await?;
            fault::point_at("saga.after_intent", saga.name).await?;
            let mut at = self.at(step);
            let answer = call(step.name, None, step.work.undo(&mut at)).await;
            fault::point_at("saga.after_call", saga.name).await?;
            match answer {
                Ok(()) => {
                    self.history.note(self.run, step.name, Direction::Undo, Known::Done, Ok(None)).await?;
                    fault::point_at("saga.after_undo", saga.name).await?;
                }
                Err(error) => return self.try_again(step, &error).await,
            }
        }
        self.history.compensated(self.run).await?;
        Ok(Outcome::Completed)
    }

    /// Goes on taking back later, without an end: only then are its effects gone.
    async fn try_again(&mut self, step: &Step, error: &Error) -> Result<Outcome> {
        self.history.note(self.run, step.name, Direction::Undo, Known::Failed, Err(error)).await?;
        let failures = self.history.saga.failures;
        tracing::warn!(
            saga.name = self.saga.name, saga.step = step.name, task.id = %self.run.id(), failures, error = %error,
            "a step could not be taken back: trying again"
        );
        if failures >= STUCK_AFTER && self.history.saga.state != SagaState::Stuck.name() {
            self.history.be_stuck(self.run, step.name, error).await?;
        }
        Ok(Outcome::Later(Retry::default().pause(failures)))
    }

    fn at(&self, step: &Step) -> SagaRun {
        SagaRun {
            store: self.run.store().clone(),
            tenant: self.run.tenant(),
            id: self.run.id(),
            step: step.name,
            input: self.input.clone(),
            results: self.history.results(),
            correlation_id: self.run.correlation_id.clone(),
        }
    }
}
