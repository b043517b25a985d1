// The peers: how each is started, with the configuration that the suite's own authors run it with. A peer that is not
// installed is left out. Not for what they are asked.

import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';

function version(command, words, pattern) {
  try {
    const text = execFileSync('sh', ['-c', `${command} ${words} 2>&1`]).toString();
    return pattern.exec(text)?.[1] ?? null;
  } catch {
    return null;
  }
}

/** Returns the peers that are there. */
export async function peers(work, suite) {
  return [nginx(work, suite), varnish(work), trafficServer(work, suite)].filter(Boolean);
}

function nginx(work, suite) {
  const found = version('nginx', '-v', /nginx\/([\d.]+)/);
  if (!found) return null;
  const folder = `${work}/nginx`;
  return {
    name: 'nginx',
    version: `nginx ${found}`,
    command: 'nginx',
    arguments: ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', `${folder}/error.log`],
    prepare(fill) {
      mkdirSync(`${folder}/tmp`, { recursive: true });
      const site = readFileSync(`${suite}docker/nginx/nginx.conf`, 'utf8')
        .replace('/var/cache/nginx/tmp', `${folder}/tmp`)
        .replace('/var/cache/nginx', `${folder}/cache`)
        .replace('8002', '127.0.0.1:@LISTEN@')
        .replace('localhost:8000', '127.0.0.1:@ORIGIN@');
      const own = `daemon off; pid ${folder}/pid; user root; worker_processes 1; events { worker_connections 2048; }`;
      writeFileSync(`${folder}/nginx.conf`, `${own}\nhttp { access_log off;\n${fill(site)}\n}\n`);
    },
  };
}

function varnish(work) {
  const found = version('varnishd', '-V', /varnish-([\d.]+)/);
  if (!found) return null;
  const folder = `${work}/varnish`;
  // The words of the suite's docker/serve.sh.
  const words = '-a 127.0.0.1:@LISTEN@ -p default_ttl=0 -p default_grace=0 -p default_keep=3600 -s malloc,64M';
  return {
    name: 'Varnish',
    version: `Varnish ${found}`,
    command: 'varnishd',
    arguments: ['-F', '-j', 'none', '-n', folder, '-f', `${folder}/default.vcl`, ...words.split(' ')],
    prepare(fill) {
      mkdirSync(folder, { recursive: true });
      const vcl = 'vcl 4.1;\nbackend default { .host = "127.0.0.1"; .port = "@ORIGIN@"; }\n';
      writeFileSync(`${folder}/default.vcl`, fill(vcl));
    },
  };
}

function trafficServer(work, suite) {
  const found = version('traffic_server', '--version', /([\d]+\.[\d]+\.[\d]+)/);
  if (!found) return null;
  const folder = `${work}/trafficserver`;
  return {
    name: 'Traffic Server',
    version: `Traffic Server ${found}`,
    command: 'traffic_server',
    arguments: [`--run-root=${folder}/runroot.yaml`],
    prepare(fill) {
      execFileSync('traffic_layout', ['init', '--force', `--path=${folder}`], { stdio: 'ignore' });
      const layout = Object.fromEntries(
        readFileSync(`${folder}/runroot.yaml`, 'utf8').split('\n').map((line) => line.split(': ')),
      );
      const records = readFileSync(`${suite}docker/trafficserver/records.config`, 'utf8')
        .replace('server_ports STRING 8003', 'server_ports STRING @LISTEN@')
        .concat(`\nCONFIG proxy.config.admin.user_id STRING ${account()}\n`);
      const write = (name, text) => writeFileSync(`${layout.sysconfdir}/${name}`, fill(text));
      write('records.config', records);
      write('remap.config', 'map / http://127.0.0.1:@ORIGIN@/\n');
      write('storage.config', `${layout.cachedir} 256M\n`);
      write('ip_allow.yaml', 'ip_allow:\n  - apply: in\n    ip_addrs: 127.0.0.1\n    action: allow\n    methods: ALL\n');
      hand(folder);
    },
  };
}

/** Returns the account that Traffic Server runs as: it will not run as root. */
function account() {
  if (process.getuid() !== 0) return '#-1';
  return 'trafficserver';
}

/** Gives a folder to Traffic Server's account. */
function hand(folder) {
  if (process.getuid() !== 0) return;
  const id = (what) => Number(execFileSync('id', [what, 'trafficserver']).toString());
  const [user, group] = [id('-u'), id('-g')];
  chmodSync(folder, 0o755);
  chownSync(folder, user, group);
  for (const entry of readdirSync(folder, { recursive: true })) chownSync(`${folder}/${entry}`, user, group);
}
