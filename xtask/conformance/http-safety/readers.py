"""Servers that others wrote, each in front of a recorder of its own: how they read what we refuse."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from reading import Request, read_by_h11
from recorder import CASE, Recorder

NODE = """
const http = require('http');
const server = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('error', () => {});
  request.on('end', () => {
    console.log(JSON.stringify([request.method, Buffer.from(request.url, 'latin1').toString('hex'), Buffer.concat(parts).toString('hex')]));
    response.end('read');
  });
});
server.listen(Number(process.argv[process.argv.length - 1]), '127.0.0.1');
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name, inside=None):
    """Returns the program: the one that a Python package brings, else the one that is installed."""
    brought = (Path(folder) / inside for folder in sys.path if inside)
    installed = (Path(folder) / name for folder in os.get_exec_path() + ["/usr/sbin"])
    return next((str(path) for path in (*brought, *(() if inside else installed)) if os.access(path, os.X_OK)), None)


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit; worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream origin {{ server 127.0.0.1:{origin}; keepalive 16; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
HAPROXY = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend door
  bind 127.0.0.1:{port}
  default_backend origin
backend origin
  server one 127.0.0.1:{origin}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: door
          http_filters: [{{ name: envoy.filters.http.router, typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }}]
          route_config: {{ virtual_hosts: [{{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: origin }} }}] }}] }}
  clusters:
  - name: origin
    type: STATIC
    load_assignment: {{ cluster_name: origin, endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {origin} }} }} }} }}] }}] }}
"""
CADDY = """
{{
  admin off
  auto_https off
  persist_config off
}}
http://:{port} {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{origin}
}}
"""


class Reader:
    """A server and what it has read, by case."""

    def __init__(self, name, command, config=None):
        self.name, self.command, self.config = name, command, config
        self.recorder, self.process, self.port, self.own = Recorder(), None, None, defaultdict(list)
        self.pump = None

    async def start(self, folder):
        origin, self.port = await self.recorder.start(), free_port()
        place = Path(folder) / self.name
        place.mkdir(parents=True, exist_ok=True)
        file = place / "config.yaml"
        file.write_text((self.config or "").format(origin=origin, port=self.port, folder=place))
        command = [part.format(file=file, port=self.port) for part in self.command]
        environment = dict(os.environ, XDG_DATA_HOME=str(place), XDG_CONFIG_HOME=str(place), HOME=str(place))
        output = subprocess.PIPE if self.name == "node" else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdout=output, stderr=open(place / "log", "wb"), env=environment, cwd=place)
        if self.name == "node":
            self.pump = asyncio.get_running_loop().run_in_executor(None, self.listen)
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)
        raise SystemExit(f"{self.name} does not start; see {place / 'log'}")

    def listen(self):
        for line in self.process.stdout:
            method, url, body = json.loads(line)
            request = Request(method.encode(), bytes.fromhex(url), (), bytes.fromhex(body))
            found = CASE.search(request.target)
            self.own[found[1].decode() if found else "?"].append(request)

    def read(self, case):
        """Returns what it made of a case: requests, and whether something else went on to its origin."""
        log = self.own if self.name == "node" else self.recorder.requests
        return tuple(request.reading() for request in log.get(case, ())) + tuple(
            (b"?", b"malformed", bytes_) for number, _, bytes_ in self.recorder.malformed if number == case)

    async def stop(self):
        self.process.terminate()
        try:
            await asyncio.get_running_loop().run_in_executor(None, lambda: self.process.wait(5))
        except subprocess.TimeoutExpired:
            self.process.kill()
        if self.pump:
            await self.pump


class H11:
    """h11, which needs no socket."""

    name = "h11"

    def __init__(self):
        self.own = {}

    def take(self, case, data):
        self.own[case] = tuple(request.reading() for request in read_by_h11(data))

    def read(self, case):
        return self.own.get(case, ())


def readers():
    """Returns those that there are, and the names of those that are missing."""
    known = [
        ("nginx", program("nginx"), ["-c", "{file}", "-p", "/"], NGINX),
        ("haproxy", program("haproxy"), ["-db", "-f", "{file}"], HAPROXY),
        ("envoy", program("envoy", "envoy/_bin/envoy"), ["-c", "{file}", "--concurrency", "1", "--disable-hot-restart", "-l", "off"], ENVOY),
        ("caddy", program("caddy", "bin/caddy"), ["run", "--config", "{file}", "--adapter", "caddyfile"], CADDY),
        ("node", program("node"), ["-e", NODE.replace("{", "{{").replace("}", "}}"), "{port}"], None),
    ]
    found = [Reader(name, [path, *arguments], config) for name, path, arguments, config in known if path]
    return found, [name for name, path, _, _ in known if not path]
