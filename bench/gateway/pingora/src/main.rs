//! The least proxy that can be made of Pingora: one worker, one upstream, a pool of kept connections, and
//! routes where a file names them. A peer of the benchmark, not a proxy for anybody.

use std::path::PathBuf;

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Door {
    origin: String,
    routes: Option<matchit::Router<()>>,
}

#[async_trait]
impl ProxyHttp for Door {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, session: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        if let Some(routes) = &self.routes
            && routes.at(session.req_header().uri.path()).is_err()
        {
            return Err(Error::explain(HTTPStatus(404), "no such route"));
        }
        Ok(Box::new(HttpPeer::new(self.origin.as_str(), false, String::new())))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin, rest @ ..] = &arguments[..] else { panic!("pingora_peer LISTEN ORIGIN [ROUTES]") };
    let routes = rest.first().map(PathBuf::from).map(|file| {
        let text = std::fs::read_to_string(file).expect("the file of routes is there");
        let mut routes = matchit::Router::new();
        text.lines().for_each(|route| routes.insert(route, ()).expect("routes do not overlap"));
        routes
    });
    let settings =
        ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 256, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Door { origin: origin.clone(), routes });
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run_forever();
}
