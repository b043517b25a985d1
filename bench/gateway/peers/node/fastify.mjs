// @fastify/http-proxy, and with it what Fastify's own plugins offer of the chain. Settings: a JSON object as
// the only argument.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import proxy from '@fastify/http-proxy'

const { listen, origin, shape, pem, algorithm, issuer, audience, role, routes } = JSON.parse(process.argv[2])
const [host, port] = listen.split(':')
const chain = shape === 'chain'
const app = Fastify({ logger: false, keepAliveTimeout: 600_000, requestTimeout: 0, bodyLimit: 4 * 1024 ** 3 })
// Its pool to the origin: as many connections as the load has.
const undici = { connections: shape === 'stream' ? 2048 : 256, pipelining: 1, keepAliveTimeout: 600_000, bodyTimeout: 0, headersTimeout: 0 }
const upstream = `http://${origin}`

let preHandler
if (shape === 'jwt' || chain) {
  const { default: jwt } = await import('@fastify/jwt')
  await app.register(jwt, {
    secret: { public: readFileSync(pem, 'utf8') },
    // It remembers tokens that it has verified.
    verify: { algorithms: [algorithm], allowedIss: issuer, allowedAud: audience, cache: 1000 },
  })
  preHandler = async (request, reply) => {
    await request.jwtVerify()
    if (chain && !request.user.roles.includes(role)) return reply.code(403).send()
  }
}
if (chain) {
  const { default: limit } = await import('@fastify/rate-limit')
  const { default: prometheus } = await import('prom-client')
  await app.register(limit, {
    hook: 'preHandler',
    max: 1_000_000,
    timeWindow: 1000,
    keyGenerator: (request) => request.user?.sub ?? request.ip,
    addHeaders: { 'x-ratelimit-limit': false, 'x-ratelimit-remaining': false, 'x-ratelimit-reset': false },
  })
  const duration = new prometheus.Histogram({ name: 'request_seconds', help: 'Requests', labelNames: ['method', 'route', 'status'] })
  app.addHook('onResponse', async (request, reply) => {
    duration.observe({ method: request.method, route: request.routeOptions.url, status: reply.statusCode }, reply.elapsedTime / 1000)
  })
  app.get('/metrics', async () => prometheus.register.metrics())
}
if (shape === 'compose') {
  const { Pool } = await import('undici')
  const pool = new Pool(upstream, { connections: 256, pipelining: 1, keepAliveTimeout: 600_000 })
  const part = async (path) => (await pool.request({ path, method: 'GET' })).body.json()
  app.get('/merged', async () => {
    const [profile, orders, stock] = await Promise.all(['/profile', '/orders', '/stock'].map(part))
    return { profile, orders, stock }
  })
} else if (shape === 'routes') {
  const { default: from } = await import('@fastify/reply-from')
  await app.register(from, { base: upstream, undici })
  for (const route of readFileSync(routes, 'utf8').split('\n')) {
    app.get(route.replaceAll(/\{(\w+)\}/g, ':$1'), (request, reply) => reply.from(request.raw.url))
  }
} else {
  await app.register(proxy, { upstream, undici, preHandler, websocket: shape === 'stream' })
}
await app.listen({ host, port: Number(port), backlog: 4096 })
