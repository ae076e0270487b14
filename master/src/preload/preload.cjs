// Runs in a Node worker before its program, to which it must be as if it were not there.
//
// The master loads it with `NODE_OPTIONS=--require`. It speaks with the master over the worker's
// own channel, in messages whose `cmd` begins with `NODE_`: Node never shows those to programs.
// It answers pings from the event loop, counts, and drains politely: once the master says so,
// every answer is its connection's last, and idle connections are left open for a while, so that
// a client that is just about to use one again is answered rather than cut.
//
// So that no program notices, it changes nothing of the program's: no listener on its servers or
// sockets, no patched prototype, no timer that keeps the process alive. It looks, once a second,
// at what Node itself keeps. Where that needs something internal of Node, its absence costs a
// figure or some politeness, and nothing else; `docs/node-preload.md` has the versions.
'use strict';

// A program that walks or empties the cache of modules shall find its own there, and no other.
delete require.cache[__filename];

// How the master hands over what `NODE_OPTIONS` was: empty if it was not set, else `=` and the
// value. Threads and grandchildren do not have it, since it is removed here, before any code of
// the user's runs; so who has it is the main thread of a worker.
const CARRIER = 'MAITRED_NODE_OPTIONS';

const COMMAND = 'NODE_MAITRED';
const VERSION = 1;

// How often the figures are sent, if they change, and how often in a drain: as Rust workers do.
const STATISTICS_INTERVAL = 1000;
const STATISTICS_INTERVAL_IN_DRAIN = 250;

// The one timer, in milliseconds. How late it comes is the delay of the event loop, so delays
// shorter than this may go unseen. Each beat wakes an idle process: at 100 that costs it about
// 0.15 % of a processor, as Node's `monitorEventLoopDelay` does at the same resolution; and that
// one forgets the delay that is under way whenever it is read and reset.
const BEAT = 100;

// In a drain each beat also looks whether it is over, and what is noticed late delays a reload.
const BEAT_IN_DRAIN = 25;

// Smaller changes of these two are no news. Both move by themselves in an idle process.
const DELAY_NEWS_MICROS = 10_000;
const HEAP_NEWS_BYTES = 1 << 20;

const carried = process.env[CARRIER];
if (carried !== undefined) {
  delete process.env[CARRIER];
  if (carried === '') {
    delete process.env.NODE_OPTIONS;
  } else {
    process.env.NODE_OPTIONS = carried.slice(1);
  }
  // Without a channel there is nobody to talk to.
  if (process.connected) {
    harmless(attend)();
  }
}

// Returns the function, never to throw: a fault of ours must not become the program's.
function harmless(action) {
  return (...facts) => {
    try {
      return action(...facts);
    } catch {
      return undefined;
    }
  };
}

function attend() {
  // All that a program may replace later, for its tests or by mistake, is taken now.
  const { send, memoryUsage } = process;
  const { setInterval, clearInterval } = globalThis;
  const now = performance.now.bind(performance);
  const { channel } = require('node:diagnostics_channel');

  // Kept in variables, since Node 18 forgets a channel that nobody holds, with its subscribers.
  const socketTaken = channel('net.server.socket');
  const answerFinished = channel('http.server.response.finish');
  const requestStarted = channel('http.server.request.start');

  const servers = new Set();
  const sessions = new Set();
  let taken = 0;
  let requests = 0;
  let told = { loopDelayMicros: 0, heapBytes: 0 };
  let sending = false;
  let draining = false;
  let deadline = Infinity;
  let timer;
  let interval;
  let lastBeat = now();
  let longestDelay = 0;
  let nextStatistics = lastBeat + STATISTICS_INTERVAL;

  // --- What there is to count ---------------------------------------------------------------

  const onSocket = harmless(({ socket }) => {
    taken += 1;
    if (socket.server) {
      servers.add(socket.server);
    }
    if (isHttp2(socket.server)) {
      rememberSession(socket);
    }
  });

  const onFinish = () => {
    requests += 1;
  };

  // HTTP/2 without TLS: the session is a property of its socket. Behind TLS no property leads
  // from this socket to the session; from Node 24 on the server itself lists them.
  function rememberSession(socket) {
    for (const key of Reflect.ownKeys(socket)) {
      if (socket[key]?.constructor?.name === 'ServerHttp2Session') {
        sessions.add(socket[key]);
        return;
      }
    }
  }

  function survey() {
    const counts = { open: 0, idle: 0, busy: 0, streaming: 0, upgraded: 0 };
    for (const server of servers) {
      const open = server._connections | 0;
      if (open === 0 && !server.listening) {
        servers.delete(server);
        continue;
      }
      counts.open += open;
      countHttp(server, open, counts);
    }
    for (const session of sessions) {
      if (session.destroyed) {
        sessions.delete(session);
      }
    }
    return counts;
  }

  function countHttp(server, open, counts) {
    const list = httpConnections(server);
    if (list === undefined) {
      return;
    }
    for (const state of statesIn(list)) {
      counts[state] += 1;
    }
    // Node lets go of the parser when a connection is upgraded, and keeps counting it. (The
    // same is so during a TLS handshake; these last milliseconds, and survive `close()`.)
    counts.upgraded += Math.max(0, open - list.all().length);
  }

  // Unlike a survey it is over with the first one found, since a drain asks often.
  function isAnyIdle() {
    for (const server of servers) {
      for (const state of statesIn(httpConnections(server))) {
        if (state === 'idle') {
          return true;
        }
      }
    }
    return false;
  }

  function httpSockets() {
    const parsers = [...servers].flatMap((server) => httpConnections(server)?.all() ?? []);
    return parsers.map(({ socket }) => socket).filter(Boolean);
  }

  // --- What is said -------------------------------------------------------------------------

  // Everything goes through here, and with a callback: without one, Node would emit the failure
  // of a closed channel as an 'error' of the program's `process`.
  function tell(message, done = () => {}) {
    send.call(process, { cmd: COMMAND, ...message }, done);
  }

  function figures() {
    const counts = survey();
    const loopDelayMicros = Math.round(longestDelay * 1000);
    longestDelay = 0;
    return { taken, requests, ...counts, loopDelayMicros, heapBytes: memoryUsage().heapUsed };
  }

  function tellStatistics() {
    const latest = figures();
    // At most one is under way: a master that does not read shall not fill our memory.
    if (!sending && (draining || areNews(latest, told))) {
      sending = true;
      told = latest;
      tell({ act: 'statistics', ...latest }, () => {
        sending = false;
      });
    }
  }

  // --- The drain ----------------------------------------------------------------------------

  function drain(grace) {
    if (draining) {
      return;
    }
    draining = true;
    deadline = now() + grace;
    nextStatistics = 0;
    requestStarted.subscribe(harmless(({ response }) => makeLast(response)));
    for (const socket of httpSockets()) {
      if (socket._httpMessage) {
        makeLast(socket._httpMessage);
      }
    }
    sayGoAway();
    beatEvery(BEAT_IN_DRAIN);
    beat();
  }

  function lookWhetherItIsOver(time) {
    const isOver = time >= deadline;
    if (isOver) {
      // Whatever becomes of it, the master waits for the word below.
      harmless(closeIdle)();
    }
    if (isOver || !isAnyIdle()) {
      deadline = Infinity;
      tell({ act: 'drained' });
    }
  }

  // Clients open no more streams then, and repeat elsewhere what had not begun.
  function sayGoAway() {
    for (const server of servers) {
      for (const session of ownBySymbol(server, 'sessions') ?? []) {
        sessions.add(session);
      }
    }
    for (const session of sessions) {
      session.close();
    }
  }

  // Closes what had its grace. Node 18 does not do so when a server closes; and no version does
  // it for a connection that never said a word, which then would outlive its server.
  function closeIdle() {
    for (const socket of httpSockets()) {
      if (isMute(socket)) {
        socket.destroy();
      }
    }
    for (const server of servers) {
      server.closeIdleConnections?.();
    }
  }

  // --- Beginning and end --------------------------------------------------------------------

  function hear(message) {
    if (message?.cmd !== COMMAND) {
      return;
    }
    if (message.act === 'ping') {
      tell({ act: 'pong', nonce: message.nonce });
    } else if (message.act === 'drain') {
      drain(Number(message.grace) || 0);
    }
  }

  function beatEvery(milliseconds) {
    clearInterval(timer);
    interval = milliseconds;
    timer = setInterval(harmless(beat), milliseconds);
    timer.unref();
  }

  function beat() {
    if (!process.connected) {
      stop();
      return;
    }
    const time = now();
    longestDelay = Math.max(longestDelay, time - lastBeat - interval);
    lastBeat = time;
    if (time >= nextStatistics) {
      nextStatistics = time + (draining ? STATISTICS_INTERVAL_IN_DRAIN : STATISTICS_INTERVAL);
      harmless(tellStatistics)();
    }
    if (deadline < Infinity) {
      lookWhetherItIsOver(time);
    }
  }

  // The channel is gone: nobody asks any more. Answers go on saying `close` if they did.
  function stop() {
    clearInterval(timer);
    socketTaken.unsubscribe(onSocket);
    answerFinished.unsubscribe(onFinish);
  }

  process.on('internalMessage', harmless(hear));
  socketTaken.subscribe(onSocket);
  answerFinished.subscribe(onFinish);
  beatEvery(BEAT);
  tell({ act: 'hello', version: VERSION });
}

// Node's own list of a server's connections that speak HTTP, if it is a server of HTTP/1.
function httpConnections(server) {
  return ownBySymbol(server, 'http.server.connections');
}

function* statesIn(list) {
  const hearing = new Set(list?.active());
  for (const parser of list?.all() ?? []) {
    const state = stateOf(parser.socket, hearing.has(parser));
    if (state !== undefined) {
      yield state;
    }
  }
}

// Returns what a connection that speaks HTTP does, or nothing if it is only being closed.
function stateOf(socket, isHearing) {
  if (!socket || socket.destroyed) {
    return undefined;
  }
  if (socket._httpMessage) {
    return socket._httpMessage.headersSent ? 'streaming' : 'busy';
  }
  if (socket.writableEnded) {
    return undefined;
  }
  // Node takes one that has said nothing yet for a request that has begun.
  return isHearing && !isMute(socket) ? 'busy' : 'idle';
}

function isMute(socket) {
  return socket.bytesRead === 0;
}

// Makes an answer its connection's last, if its head is still to be written. A header would be
// seen by the program, which may also take it away; this property is what Node asks when it
// writes the head. Only a program that sets `Connection: keep-alive` itself has its way.
function makeLast(response) {
  if (!response.headersSent) {
    response.shouldKeepAlive = false;
  }
}

function isHttp2(server) {
  const name = server?.constructor?.name;
  return name === 'Http2Server' || name === 'Http2SecureServer';
}

// Node keeps its lists under symbols that it does not export, but whose names are stable.
function ownBySymbol(object, name) {
  const symbols = Object.getOwnPropertySymbols(object);
  const symbol = symbols.find(({ description }) => description === name);
  return symbol && object[symbol];
}

function areNews(latest, told) {
  const { loopDelayMicros, heapBytes, ...counts } = latest;
  return (
    Math.abs(loopDelayMicros - told.loopDelayMicros) >= DELAY_NEWS_MICROS ||
    Math.abs(heapBytes - told.heapBytes) >= HEAP_NEWS_BYTES ||
    Object.keys(counts).some((name) => counts[name] !== told[name])
  );
}
