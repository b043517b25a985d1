//! The door on a core of its own, as in a server: what it does is not handed from thread to thread. Not for
//! sockets.

use std::rc::Rc;

use axum::extract::Request;
use axum::response::Response;
use gateway::{Core, Door};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

/// Takes requests to the door. Cloning it is cheap.
#[derive(Clone)]
pub(crate) struct AtDoor(mpsc::UnboundedSender<(Request, oneshot::Sender<Response>)>);

impl AtDoor {
    /// Opens a door; it closes with the last who holds this.
    pub(crate) fn open(door: impl FnOnce(Rc<Core>) -> Door + Send + 'static) -> Self {
        let (ask, mut asked) = mpsc::unbounded_channel::<(Request, oneshot::Sender<Response>)>();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                let door = Rc::new(door(Rc::new(Core::new(1))));
                while let Some((request, mut tell)) = asked.recv().await {
                    let door = door.clone();
                    tokio::task::spawn_local(async move {
                        // Who goes away takes the request along, as a closed connection does.
                        let response = tokio::select! {
                            response = door.handle(request) => response,
                            () = tell.closed() => return,
                        };
                        let _ = tell.send(response);
                    });
                }
            });
        };
        std::thread::Builder::new().name("door".to_owned()).spawn(run).expect("a thread for the door");
        Self(ask)
    }

    /// Answers a request.
    pub(crate) async fn handle(&self, request: Request) -> Response {
        let (tell, told) = oneshot::channel();
        self.0.send((request, tell)).expect("the door is open");
        told.await.expect("the door answers")
    }
}
