// Runs one library as its README shows, and prints each event that the library
// hands to its user as a line of JSON.
//
//   node client.mjs LIBRARY URL USER-ID TOKEN

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const [library, url, userId, token] = process.argv.slice(2);
const headers = { 'X-User-Id': userId, 'X-Auth-Token': token };

// It lives as long as its standard input. A program whose only work is to wait for the
// next attempt to connect would end, because some libraries don't count their timers.
process.stdin.on('end', () => process.exit()).resume();

const print = (name, data, id) => console.log(JSON.stringify({ name, data, id: id ?? '' }));

// The names that an EventSource must be told. Without a name, an event is a message.
const names = ['message', 'ready', 'created', 'updated', 'deleted', 'heartbeat', 'reset'];

function listen(source) {
  for (const name of names) {
    source.addEventListener(name, (e) => print(name, e.data, e.lastEventId));
  }
  source.addEventListener('error', (e) => console.error('error', e.message ?? ''));
}

// What sse.js expects of a browser: an XMLHttpRequest whose responseText grows. The
// packages for Node show the text at its end.
class StreamingRequest extends EventTarget {
  static HEADERS_RECEIVED = 2;
  status = 0;
  responseText = '';
  #headers = {};

  open(method, url) {
    this.method = method;
    this.url = url;
  }

  setRequestHeader(name, value) {
    this.#headers[name] = value;
  }

  async send() {
    let last = 'load';
    try {
      const answer = await fetch(this.url, { method: this.method, headers: this.#headers });
      this.status = answer.status;
      const decoder = new TextDecoder();
      for await (const bytes of answer.body) {
        this.responseText += decoder.decode(bytes, { stream: true });
        this.dispatchEvent(new Event('progress'));
      }
    } catch {
      last = 'error';
    }
    this.dispatchEvent(new Event(last));
  }
}

const libraries = {
  async '@microsoft/fetch-event-source'() {
    // What it expects of a browser.
    globalThis.window = globalThis;
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = require('@microsoft/fetch-event-source');
    await fetchEventSource(url, {
      headers,
      onmessage(e) {
        JSON.parse(e.data); // as its users do: what it throws makes the library connect again
        print(e.event, e.data, e.id);
      },
      onclose() {
        throw new Error('the server ended the stream'); // its README: throw to connect again
      },
      onerror(e) {
        console.error('error', e.message);
      },
    });
  },

  'event-source-polyfill'() {
    const { EventSourcePolyfill } = require('event-source-polyfill');
    listen(new EventSourcePolyfill(url, { headers }));
  },

  'eventsource-2'() {
    const EventSource = require('eventsource-2');
    listen(new EventSource(url, { headers }));
  },

  async eventsource() {
    const { EventSource } = await import('eventsource');
    listen(
      new EventSource(url, {
        fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
      }),
    );
  },

  async 'eventsource-client'() {
    const { createEventSource } = await import('eventsource-client');
    for await (const e of createEventSource({ url, headers })) {
      print(e.event ?? '', e.data, e.id);
    }
  },

  // Only a parser: it leaves connecting to its user.
  async 'eventsource-parser'() {
    const { createParser } = await import('eventsource-parser');
    let lastId = '';
    let retry = 3000;
    for (;;) {
      const parser = createParser({
        onEvent(e) {
          if (e.id !== undefined) lastId = e.id;
          print(e.event ?? '', e.data, e.id);
        },
        onRetry(ms) {
          retry = ms;
        },
        onError(e) {
          console.error('error', e.message);
        },
        onComment(text) {
          print('comment', text, '');
        },
      });
      try {
        const answer = await fetch(url, { headers: lastId ? { ...headers, 'Last-Event-ID': lastId } : headers });
        if (!answer.ok) throw new Error(`status ${answer.status}`);
        const decoder = new TextDecoder();
        for await (const bytes of answer.body) {
          parser.feed(decoder.decode(bytes, { stream: true }));
        }
      } catch (e) {
        console.error('error', e.message);
      }
      await new Promise((resolve) => setTimeout(resolve, retry));
    }
  },

  async 'sse.js'() {
    globalThis.XMLHttpRequest = StreamingRequest;
    globalThis.CustomEvent ??= class extends Event {}; // absent in Node.js 18
    const { SSE } = await import('sse.js');
    const source = new SSE(url, { headers, autoReconnect: true, start: false });
    listen(source);
    source.stream();
  },
};

await libraries[library]();
