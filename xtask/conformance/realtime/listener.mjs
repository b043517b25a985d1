// npm's eventsource on the event stream, keeping everything it hears; each event is read as a
// CloudEvent, strictly, by npm's cloudevents. Not for what should have been heard.

import { CloudEvent, HTTP } from 'cloudevents';
import { EventSource } from 'eventsource';

import { eventually, expect, now } from './checks.mjs';

const PATH = '/api/events/stream';
/** What the stream says of itself, beside events. */
const OWN = ['open', 'error', 'ready', 'reset'];

/** An EventSource that keeps what it hears, whatever its name is. */
class Source extends EventSource {
  dispatchEvent(event) {
    this.hear?.(event);
    return super.dispatchEvent(event);
  }
}

export class Listener {
  /** Listens as a person, or with what else is in the query. `from` is the id to go on after. */
  constructor(base, { person, query = {}, from, headers = {} } = {}) {
    this.heard = [];
    this.openings = [];
    this.requests = [];
    const url = new URL(PATH, base);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    if (from) url.searchParams.set('lastEventId', from);
    this.source = new Source(url, {
      fetch: async (input, init) => {
        const authorization = person ? { authorization: `Bearer ${await person.token()}` } : {};
        const response = await fetch(input, { ...init, headers: { ...init.headers, ...authorization, ...headers } });
        this.openings.push({ at: now(), status: response.status, headers: response.headers });
        this.requests.push({ ...init.headers });
        return response;
      },
    });
    this.source.hear = (event) => this.heard.push({ at: now(), name: event.type, id: event.lastEventId, data: event.data, code: event.code });
  }

  /** Waits until the stream has begun. */
  async ready() {
    await eventually('the stream says ready or reset', () => {
      const failed = this.named('error').find((event) => event.code);
      expect(!failed, `the stream was refused with ${failed?.code}`);
      return this.named('ready')[0] ?? this.named('reset')[0];
    });
    return this;
  }

  /** Returns what was heard under a name. */
  named(name) {
    return this.heard.filter((event) => event.name === name);
  }

  /** Returns the events, each read as a CloudEvent. */
  events() {
    return this.heard.filter((event) => !OWN.includes(event.name)).map((heard) => ({ ...heard, event: cloudEvent(heard.data) }));
  }

  /** Returns the events about one thing. */
  about(subject) {
    return this.events().filter(({ event }) => event.subject === subject);
  }

  /** Returns the id that a client would go on after. */
  lastId() {
    return this.heard.map((event) => event.id).filter(Boolean).at(-1);
  }

  /** Returns when the stream was last broken or refused. */
  brokenAt() {
    return this.named('error').at(-1)?.at;
  }

  get isOver() {
    return this.source.readyState === EventSource.CLOSED;
  }

  close() {
    this.source.close();
  }
}

/** Reads a document as a CloudEvent twice, as an object and as a message in structured mode. */
export function cloudEvent(text) {
  const event = new CloudEvent(JSON.parse(text), true);
  event.validate();
  const message = { headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' }, body: text };
  expect(HTTP.isEvent(message), 'it is no message of a CloudEvent');
  const received = HTTP.toEvent(message);
  expect(received.id === event.id && received.type === event.type, 'two readings of one document differ');
  expect(received.specversion === '1.0' && received.datacontenttype === 'application/json', 'version or content type is wrong');
  return event;
}

/** Throws unless these are the wanted ids, each once and in order. */
export function each(what, found, wanted) {
  const [seen, missing] = [new Set(found), wanted.filter((id) => !found.includes(id))];
  expect(missing.length === 0, `${what}: ${missing.length} of ${wanted.length} are missing, first ${missing[0]}`);
  expect(found.length === seen.size, `${what}: ${found.length - seen.size} came twice`);
  const order = found.filter((id) => wanted.includes(id));
  expect(order.every((id, place) => id === wanted[place]), `${what}: not in their order`);
}
