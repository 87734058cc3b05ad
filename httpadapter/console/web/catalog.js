// The page's own copy of the whole catalog, kept current by the server's events.

import { Refusal, endpoint, listFrom } from './api.js';

const overlap = 20; // statuses that two pages of the list share
const silence = 40_000; // milliseconds without an event, after which the stream counts as lost
const gather = 100; // milliseconds in which changes become one update of the page

const glow = 3000; // milliseconds in which a row shows that it has changed

const pause = (from, to) => new Promise((done) => setTimeout(done, from + (to - from) * Math.random()));

// loadAll reads all pages of the list. Others may write meanwhile: each page must begin
// with a status that is known with this name, so that no status is missed that stays as it
// is. The same goes for a page behind the end, where many have been deleted. What changes
// after the first page's position comes with the events.
async function loadAll(progress) {
	const all = new Map();
	let at = '', back = overlap, offset = 0;
	for (;;) {
		const page = await listFrom(offset);
		const first = page.statuses[0];
		if (offset > 0 && (first ? all.get(first._id)?.name !== first.name : offset >= page.total)) {
			back *= 4;
			offset = Math.max(0, offset - back);
			continue;
		}
		at ||= page.position;
		for (const status of page.statuses) all.set(status._id, status);
		progress(all.size, page.total);
		const end = offset + page.count;
		if (page.count === 0 || end >= page.total) return { all, at };
		back = overlap;
		offset = Math.max(end - back, offset + 1);
	}
}

// Catalog has the statuses by id. It calls its listener after each change.
export class Catalog {
	statuses = new Map();
	changed = new Set(); // the ids of what has just changed
	version = 0;
	loaded = false;
	connected = true;
	failure = null;
	loading = { done: 0, total: 0 };
	#listener = () => {};
	#refused = () => {};
	#at = '';
	#source = null;
	#timers = {};
	#run = 0;
	#resets = 0; // since the last change

	// listen sets what is called after a change, and what is called with the code
	// when the server refuses the login.
	listen(listener, refused) {
		this.#listener = listener;
		this.#refused = refused;
	}

	#tell() {
		this.version++;
		this.#listener();
	}

	// load reads the whole catalog, and follows it from then on.
	async load() {
		const run = ++this.#run;
		this.#disconnect();
		this.failure = null;
		this.loading = { done: 0, total: 0 };
		this.#tell();
		try {
			const { all, at } = await loadAll((done, total) => {
				if (run !== this.#run) return;
				this.loading = { done, total };
				this.#tell();
			});
			if (run !== this.#run) return;
			this.statuses = all;
			this.#at = at;
			this.loaded = true;
			this.connected = true;
			this.#connect(run);
		} catch (failure) {
			if (run !== this.#run) return;
			if (!(failure instanceof Refusal)) throw failure;
			this.connected = false;
			if (failure.code === 'unauthorized') this.#refused();
			else if (this.loaded) return this.#again(run, () => this.load());
			else this.failure = failure;
		}
		this.#tell();
	}

	// afterWrite shows what this page has written if no event will.
	afterWrite() {
		if (!this.connected) this.load();
	}

	end() {
		this.#run++;
		this.#disconnect();
		this.statuses = new Map();
		this.changed.clear();
		this.#resets = 0;
		this.loaded = false;
		this.failure = null;
	}

	#disconnect() {
		this.#source?.close();
		this.#source = null;
		for (const timer of Object.values(this.#timers)) clearTimeout(timer);
		this.#timers = {};
	}

	async #again(run, next) {
		this.connected = false;
		this.#tell();
		await pause(1500, 4000);
		if (run === this.#run) next();
	}

	// #connect follows the events after the position. The browser comes back by itself
	// when the connection breaks. It gives up when it is refused.
	#connect(run) {
		this.#disconnect();
		const source = this.#source = new EventSource(`${endpoint('stream')}?after=${encodeURIComponent(this.#at)}`);
		const alive = () => {
			clearTimeout(this.#timers.silence);
			this.#timers.silence = setTimeout(() => this.#connect(run), silence);
		};
		const on = (name, act) => source.addEventListener(name, (event) => {
			if (run !== this.#run || source !== this.#source) return;
			alive();
			this.#connectedIs(true);
			act(JSON.parse(event.data));
			this.#at = event.lastEventId || this.#at;
		});
		on('ready', () => {});
		on('heartbeat', () => {});
		on('reset', () => this.#reset(run));
		for (const kind of ['created', 'updated']) {
			on(kind, (status) => {
				this.#resets = 0;
				this.statuses.set(status._id, status);
				this.changed.add(status._id);
				this.#soon();
			});
		}
		on('deleted', (status) => {
			this.#resets = 0;
			this.statuses.delete(status._id);
			this.changed.delete(status._id);
			this.#soon();
		});
		source.onerror = async () => {
			if (run !== this.#run || source !== this.#source) return;
			this.#connectedIs(false);
			if (source.readyState !== EventSource.CLOSED) return;
			// Why it was refused, only an ordinary request can tell.
			await pause(1500, 4000);
			if (run !== this.#run || source !== this.#source) return;
			try {
				await listFrom(0);
				if (run === this.#run) this.#connect(run);
			} catch (failure) {
				if (run !== this.#run) return;
				if (failure.code === 'unauthorized') this.#refused();
				else source.onerror();
			}
		};
		alive();
	}

	// #reset reads the catalog again. Where one server gives the list and another one the
	// stream, of different catalogs, that never ends. So only the first time has no pause.
	#reset(run) {
		if (this.#resets++ === 0) return this.load();
		this.#disconnect();
		this.#again(run, () => this.load());
	}

	#connectedIs(yes) {
		if (this.connected === yes) return;
		this.connected = yes;
		this.#tell();
	}

	#soon() {
		this.#timers.soon ??= setTimeout(() => {
			delete this.#timers.soon;
			this.#tell();
			clearTimeout(this.#timers.fade);
			this.#timers.fade = setTimeout(() => {
				this.changed.clear();
				this.#tell();
			}, glow);
		}, this.statuses.size > 1000 ? gather : 0);
	}
}
