// What goes out: the envelope around data, and problems.

import { randomUUID } from 'node:crypto';

export class Problem extends Error {
  constructor(status, code, detail, errors) {
    super(detail);
    this.status = status;
    this.body = { type: `/errors/${code}`, title: code, status, detail, code, errors };
  }
}

export function begin(request, response, next) {
  request.began = performance.now();
  request.requestId = request.get('x-request-id') ?? randomUUID();
  request.correlationId = request.get('x-correlation-id') ?? request.requestId;
  response.set({
    'x-request-id': request.requestId,
    'x-correlation-id': request.correlationId,
    'x-content-type-options': 'nosniff',
    'cache-control': 'private, no-cache',
  });
  next();
}

function answer(request, response, body) {
  body.requestId = request.requestId;
  body.correlationId = request.correlationId;
  body.meta = { durationMs: Math.trunc(performance.now() - request.began) };
  response.json(body);
}

export function success(request, response, data, version) {
  if (version !== undefined) response.set('etag', `"v${version}"`);
  answer(request, response, { success: true, data });
}

// Express knows an error handler by its four parameters.
export function failure(error, request, response, _next) {
  let problem = error;
  if (!(error instanceof Problem)) {
    const status = error.status >= 400 && error.status < 500 ? error.status : 500;
    if (status === 500) console.error(error);
    problem = new Problem(status, status === 500 ? 'internal' : 'request.invalid_body', 'this did not work');
  }
  response.status(problem.status);
  answer(request, response, { success: false, error: problem.body });
}
