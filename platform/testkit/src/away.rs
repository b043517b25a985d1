//! The services of an application a second time, elsewhere: a server at a real port that believes a signed
//! header, and a door in front of it whose routes all lead there. Not for what the services answer.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Compiled, Core, Door, DoorParts, Entry, Metrics, Mount, Plan, Seat, Server, ServerConfig};
use kernel::Result;
use service::{Backend, Service};
use web::ContextKey;

use crate::door::AtDoor;

/// What a door is made of.
#[derive(Clone)]
pub(crate) struct Seats {
    pub services: Arc<Vec<Service>>,
    /// Where they are in this process, in the same order.
    pub backends: Vec<Backend>,
    pub declared: Arc<Compiled>,
    pub parts: DoorParts,
    pub metrics: Arc<Metrics>,
}

impl Seats {
    /// Returns a door whose services are in this process, or all at this address.
    pub(crate) fn door(&self, core: &Rc<Core>, elsewhere: Option<(&str, &ContextKey)>) -> Result<Door> {
        let mut mounts = Vec::new();
        for (service, backend) in self.services.iter().zip(&self.backends) {
            let seat = match elsewhere {
                // What every process answers for itself.
                Some(_) if ["health", "docs", "operator"].contains(&service.name) => Seat::Here(backend.clone()),
                Some((url, key)) => Seat::There(self.parts.lasting.service(service.name, url)?, key.clone()),
                None => Seat::Here(backend.clone()),
            };
            mounts.push(Mount { service, seat });
        }
        let plan = Plan::compile(mounts, self.declared.clone(), &self.metrics)?;
        Ok(Door::new(plan, self.parts.clone(), core.clone(), &self.metrics))
    }
}

/// The second door, and the server behind it; it goes with the process.
pub(crate) struct Away {
    door: AtDoor,
    metrics: Arc<Metrics>,
    _server: Server,
}

impl Away {
    pub(crate) fn open(seats: &Seats) -> Self {
        let key = ContextKey::new(&[9; 32]).expect("long enough");
        let mut behind = seats.clone();
        behind.parts.entry = Entry::Internal(key.clone());
        let config = ServerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            cores: 1,
            header_timeout: Duration::from_secs(10),
            limits: Default::default(),
            tls: None,
        };
        let server = Server::start(&config, move |core| behind.door(core, None)).expect("a server");
        // Each process counts for itself.
        let metrics = Arc::<Metrics>::default();
        let seats = Seats { metrics: metrics.clone(), ..seats.clone() };
        let url = format!("http://{}", server.address());
        let door = AtDoor::open(move |core| seats.door(&core, Some((&url, &key))).expect("the routes do not clash"));
        Self { door, metrics, _server: server }
    }

    pub(crate) fn door(&self) -> &AtDoor {
        &self.door
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}
