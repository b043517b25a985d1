// http-proxy-middleware on Express, and with it what Express's own plugins offer of the chain. Settings: a JSON
// object as the only argument.
import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import express from 'express'
import { createProxyMiddleware } from 'http-proxy-middleware'

const { listen, origin, shape, pem, algorithm, issuer, audience, role, routes } = JSON.parse(process.argv[2])
const [host, port] = listen.split(':')
const chain = shape === 'chain'
const app = express()
app.disable('x-powered-by')
const agent = new Agent({ keepAlive: true, maxSockets: 2048, maxFreeSockets: 512 })
const proxy = createProxyMiddleware({ target: `http://${origin}`, agent, xfwd: true, ws: shape === 'stream', logger: undefined })

if (chain) {
  const { default: prometheus } = await import('prom-client')
  const duration = new prometheus.Histogram({ name: 'request_seconds', help: 'Requests', labelNames: ['method', 'route', 'status'] })
  app.use((request, response, next) => {
    const end = duration.startTimer()
    response.on('finish', () => end({ method: request.method, route: request.route?.path ?? '*', status: response.statusCode }))
    next()
  })
  app.get('/metrics', async (_, response) => response.send(await prometheus.register.metrics()))
}
if (shape === 'jwt' || chain) {
  const { expressjwt } = await import('express-jwt')
  app.use(expressjwt({ secret: readFileSync(pem, 'utf8'), algorithms: [algorithm], issuer, audience }))
}
if (chain) {
  const { rateLimit } = await import('express-rate-limit')
  app.use((request, response, next) => (request.auth.roles.includes(role) ? next() : response.sendStatus(403)))
  app.use(rateLimit({ windowMs: 1000, limit: 1_000_000, standardHeaders: false, legacyHeaders: false, keyGenerator: (request) => request.auth.sub }))
}
if (shape === 'compose') {
  const { Pool } = await import('undici')
  const pool = new Pool(`http://${origin}`, { connections: 256, pipelining: 1, keepAliveTimeout: 600_000 })
  const part = async (path) => (await pool.request({ path, method: 'GET' })).body.json()
  app.get('/merged', async (_, response) => {
    const [profile, orders, stock] = await Promise.all(['/profile', '/orders', '/stock'].map(part))
    response.json({ profile, orders, stock })
  })
} else if (shape === 'routes') {
  for (const route of readFileSync(routes, 'utf8').split('\n')) app.get(route.replaceAll(/\{(\w+)\}/g, ':$1'), proxy)
} else {
  app.use(proxy)
}
const server = app.listen(Number(port), host, 4096)
server.keepAliveTimeout = 600_000
server.requestTimeout = 0
if (shape === 'stream') server.on('upgrade', proxy.upgrade)
