//! One core: its runtime, its connections to upstreams, and the door that stands there until it is renewed. Not
//! for connections of clients.

use std::cell::RefCell;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use kernel::{Error, Result};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::door::Door;
use crate::identity_values::IdentityValues;
use crate::server::connection::Reception;
use crate::server::drain::{self, Stage};
use crate::tls::Tls;

/// What belongs to one core as long as it runs, whichever door stands there.
pub struct Core {
    client: upstream::Client,
    identities: IdentityValues,
}

impl Core {
    /// Returns one of so many cores.
    pub fn new(cores: usize) -> Self {
        Self { client: upstream::Client::new(cores), identities: IdentityValues::default() }
    }

    /// Returns the core's connections to upstreams.
    pub(crate) fn client(&self) -> &upstream::Client {
        &self.client
    }

    /// Returns what was written of callers.
    pub(crate) fn identities(&self) -> &IdentityValues {
        &self.identities
    }
}

/// Asks the cores for new doors; each says how that went.
pub(super) type Ask = Option<mpsc::Sender<Result<()>>>;

/// What a core is told.
#[derive(Clone)]
pub(super) struct Told {
    pub stage: watch::Receiver<Stage>,
    pub renewed: watch::Receiver<Ask>,
    pub limits: Arc<strict_http::Config>,
    pub tls: Option<Tls>,
    pub cores: usize,
    /// Whether another server may listen at the address.
    pub shared: bool,
}

/// Runs a core until it has drained; says when its first door stands, or why it does not.
pub(super) fn run(
    listener: StdListener,
    door: impl Fn(&Rc<Core>) -> Result<Door> + 'static,
    told: Told,
    stands: Sender<Result<()>>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal("no runtime for a gateway core").source_error(error))?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener)
            .map_err(|error| Error::internal("the listener failed").source_error(error))?;
        let core = Rc::new(Core::new(told.cores));
        let first = match door(&core) {
            Ok(first) => first,
            Err(error) => {
                let _ = stands.send(Err(error));
                return Ok(());
            }
        };
        let _ = stands.send(Ok(()));
        drop(stands);
        let current = Rc::new(RefCell::new(Rc::new(first)));
        let renewing = tokio::task::spawn_local(keep_renewed(current.clone(), move || door(&core), told.renewed));
        drain::serve(listener, Reception::new(current, told.limits, told.tls), told.stage, told.shared).await;
        renewing.abort();
        Ok(())
    })
}

/// Puts a new door in the place of the old one whenever it is asked to.
async fn keep_renewed(
    current: Rc<RefCell<Rc<Door>>>,
    door: impl Fn() -> Result<Door>,
    mut renewed: watch::Receiver<Ask>,
) {
    while renewed.changed().await.is_ok() {
        let Some(told) = renewed.borrow_and_update().clone() else { continue };
        let made = door().map(|door| {
            current.replace(Rc::new(door));
        });
        let _ = told.send(made).await;
    }
}
