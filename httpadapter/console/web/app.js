// The page: who is there, what is shown, and what people do.

import { remove, sentence, signOut, whoAmI } from './api.js';
import { Catalog } from './catalog.js';
import { Toasts } from './dialog.js';
import { Editor, Question } from './editor.js';
import { download, largestFile } from './importing.js';
import { ImportPanel } from './importpanel.js';
import { config, html, Logo, render, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from './lib.js';
import { withEmoji } from './names.js';
import { SignIn } from './signin.js';
import { Pager, Skeleton, Table, useRows } from './table.js';

const undoTime = 6000; // milliseconds in which a delete can be undone
const readTime = 6000; // milliseconds for a message that needs no answer
const filterDelay = 200; // milliseconds after the last key

// useToasts returns the messages, and what adds one and takes one away.
function useToasts() {
	const [toasts, set] = useState([]);
	const next = useRef(0);
	const drop = (key) => set((all) => all.filter((t) => t.key !== key));
	const say = (text, properties) => {
		const key = ++next.current;
		// A delete waits for its message to end, so that message is not crowded out.
		set((all) => [...all.filter((t, i) => t.gone || i >= all.length - 4), { key, text, time: readTime, ...properties }]);
		return key;
	};
	return { toasts, say, drop };
}

// useDeletes returns the ids that are hidden because they are about to be deleted. A
// status is deleted when the time to undo is over, or when somebody leaves the page.
function useDeletes(catalog, say, drop) {
	const [hidden, setHidden] = useState(new Set());
	const waiting = useRef(new Map());
	const show = (id) => setHidden((all) => new Set([...all].filter((one) => one !== id)));

	function begin(status) {
		setHidden((all) => new Set([...all, status._id]));
		const entry = { status };
		entry.key = say(html`“<bdi>${withEmoji(status.name)}</bdi>” is deleted.`, {
			time: undoTime,
			undo: () => {
				waiting.current.delete(status._id);
				drop(entry.key);
				show(status._id);
			},
			gone: () => end(status._id),
		});
		waiting.current.set(status._id, entry);
	}

	async function finish(id, { key, status }) {
		drop(key);
		try {
			await remove(id);
			catalog.afterWrite();
		} catch (failure) {
			show(id);
			if (failure.code !== 'Custom_User_Status_Error_Invalid_User_Status') {
				say(html`“<bdi>${withEmoji(status.name)}</bdi>” is not deleted. ${sentence(failure).text}`, { bad: true });
			}
		}
		waiting.current.delete(id);
	}

	// end makes a delete that waits, once, however often it is called.
	function end(id) {
		const entry = waiting.current.get(id);
		return entry && (entry.end ??= finish(id, entry));
	}

	const flush = () => Promise.all([...waiting.current.keys()].map(end));

	// free makes the deletes that keep one of these names in use.
	const free = (names) => Promise.all([...waiting.current].filter(([, { status }]) => names.has(status.name)).map(([id]) => end(id)));

	// What somebody else changes meanwhile is not what was to be deleted.
	useEffect(() => {
		for (const [id, { status, key, end }] of waiting.current) {
			const now = catalog.statuses.get(id);
			if (end || now && now.name === status.name && now.statusType === status.statusType) continue;
			waiting.current.delete(id);
			drop(key);
			show(id);
			if (now) say(html`“<bdi>${withEmoji(status.name)}</bdi>” is not deleted, because somebody else has just changed it.`, { bad: true });
		}
		if ([...hidden].some((id) => !catalog.statuses.has(id))) setHidden((all) => new Set([...all].filter((id) => catalog.statuses.has(id))));
	}, [catalog.version]);

	useEffect(() => {
		const leave = () => {
			for (const id of waiting.current.keys()) remove(id, true).catch(() => {});
			waiting.current.clear();
		};
		addEventListener('pagehide', leave);
		return () => removeEventListener('pagehide', leave);
	}, []);
	return { hidden, begin, flush, free };
}

// useDrop calls take with a file that is dropped anywhere, and returns whether one is held
// over the page.
function useDrop(take) {
	const [over, setOver] = useState(false);
	useEffect(() => {
		if (!take) return;
		const files = (e) => e.dataTransfer?.types.includes('Files');
		const handlers = {
			dragover: (e) => { if (files(e)) { e.preventDefault(); setOver(true); } },
			dragleave: (e) => { if (!e.relatedTarget) setOver(false); },
			drop: (e) => {
				if (!files(e)) return;
				e.preventDefault();
				setOver(false);
				if (e.dataTransfer.files[0]) take(e.dataTransfer.files[0]);
			},
		};
		for (const [name, handle] of Object.entries(handlers)) addEventListener(name, handle);
		return () => { for (const [name, handle] of Object.entries(handlers)) removeEventListener(name, handle); };
	}, [Boolean(take)]);
	return over;
}

// useFocus keeps the focus near what had it when that goes.
function useFocus() {
	const focused = useRef(null);
	useEffect(() => {
		const note = (event) => { focused.current = event.target; };
		addEventListener('focusin', note);
		return () => removeEventListener('focusin', note);
	}, []);
	useLayoutEffect(() => {
		if (document.activeElement !== document.body || !focused.current || focused.current.isConnected) return;
		(document.getElementById('table') ?? document.getElementById('filter')).focus({ preventScroll: true });
	});
}

function Page({ user, catalog, onLeave }) {
	const [typed, setTyped] = useState('');
	const [filter, setFilter] = useState('');
	const [sort, setSort] = useState({ by: 'name', down: false });
	const [at, setAt] = useState(0);
	const [size, setSize] = useState(50);
	const [dialog, setDialog] = useState(null);
	const { toasts, say, drop } = useToasts();
	const { hidden, begin, flush, free } = useDeletes(catalog, say, drop);
	const picker = useRef(null);
	useFocus();
	const writable = !config.readOnly && user.mayManage !== false;

	useEffect(() => {
		if (typed === filter) return undefined;
		const timer = setTimeout(() => { setFilter(typed); setAt(0); }, filterDelay);
		return () => clearTimeout(timer);
	}, [typed]);

	const rows = useRows(catalog, hidden, filter, sort);
	const pages = Math.max(1, Math.ceil(rows.length / size));
	const page = Math.min(at, pages - 1);
	const take = (file) => {
		if (file.size > largestFile) say(`A file can have ${largestFile >> 20} MiB at most.`, { bad: true });
		else setDialog({ kind: 'import', file, key: Date.now() });
	};
	const over = useDrop(writable && catalog.loaded ? take : null);
	const close = () => setDialog(null);
	const open = (status) => setDialog({ kind: 'edit', status });
	const number = useMemo(() => rows.length.toLocaleString(), [rows.length]);
	const shown = useMemo(() => new Map([...catalog.statuses].filter(([id]) => !hidden.has(id))), [catalog.version, hidden]);

	let body;
	if (catalog.failure) {
		body = html`<div class="state"><p role="alert">The statuses can’t be shown. ${sentence(catalog.failure).text}</p>
			<button class="primary" onClick=${() => catalog.load()}>Try again</button></div>`;
	} else if (!catalog.loaded) body = html`<${Skeleton} loading=${catalog.loading} />`;
	else if (rows.length > 0) {
		body = html`<${Table} rows=${rows.slice(page * size, page * size + size)} changed=${catalog.changed} sort=${sort}
			onSort=${(s) => { setSort(s); setAt(0); }} onOpen=${open} writable=${writable} />
			${rows.length > 25 && html`<${Pager} page=${page} pages=${pages} size=${size} onPage=${setAt} onSize=${(n) => { setSize(n); setAt(0); }} />`}`;
	} else if (filter) {
		body = html`<div class="state"><p><b>Nothing found</b></p><p class="quiet">No name contains “<bdi>${filter}</bdi>”.</p>
			<button onClick=${() => { setTyped(''); setFilter(''); document.getElementById('filter').focus(); }}>Clear the filter</button></div>`;
	} else {
		body = html`<div class="state"><p><b>No statuses yet</b></p>
			<p class="quiet">${writable ? 'Make the first one, or drop a file here.' : 'Nobody has made one.'}</p>
			${writable && html`<button class="primary" onClick=${() => open(null)}>New status</button>`}</div>`;
	}

	return html`<header class="bar">
		<${Logo} />
		<h1>${config.title}</h1>
		${!writable && html`<span class="chip">Read only</span>`}
		<span class="space" />
		${user.userId && html`<span class="who">${user.userId}</span>`}
		${user.userId && config.session && html`<button id="sign-out" class="plain" onClick=${() => flush().then(() => onLeave(say))}>Sign out</button>`}
	</header>
	<main>
		<div class="tools">
			<input id="filter" type="search" placeholder="Filter by name" aria-label="Filter by name" value=${typed} autocomplete="off"
				onInput=${(e) => setTyped(e.target.value)} />
			<span class="quiet count" role="status">${catalog.loaded && (filter ? `${number} found` : `${number} ${rows.length === 1 ? 'status' : 'statuses'}`)}</span>
			<span class="space" />
			${writable && html`<button id="import" disabled=${!catalog.loaded} onClick=${() => picker.current.click()}>Import</button>
				<input ref=${picker} id="file" class="hidden" type="file" tabindex="-1" aria-hidden="true" accept=".json,.jsonl,.ndjson,.txt,application/json"
					onChange=${(e) => { if (e.target.files[0]) take(e.target.files[0]); e.target.value = ''; }} />`}
			<button id="export" disabled=${!catalog.loaded || rows.length === 0} onClick=${() => download(rows)}>Export</button>
			${writable && html`<button id="new" class="primary" disabled=${!catalog.loaded} onClick=${() => open(null)}>New status</button>`}
		</div>
		<p class="notice" role="status" id="connection">${catalog.loaded && !catalog.connected && 'The connection is lost, so this may be out of date. Trying again…'}</p>
		<div class="card">${body}</div>
	</main>
	${over && html`<div class="over" aria-hidden="true"><p>Drop the file to see what an import would do</p></div>`}
	${dialog?.kind === 'edit' && html`<${Editor} status=${dialog.status} now=${dialog.status && catalog.statuses.get(dialog.status._id)} free=${free} onClose=${close}
		onDelete=${() => setDialog({ kind: 'ask', status: dialog.status })}
		onSaved=${(saved, isNew) => { close(); catalog.afterWrite(); say(html`“<bdi>${withEmoji(saved.name)}</bdi>” is ${isNew ? 'added' : 'saved'}.`); }} />`}
	${dialog?.kind === 'ask' && html`<${Question} status=${dialog.status} onNo=${close} onYes=${() => { close(); begin(catalog.statuses.get(dialog.status._id) ?? dialog.status); }} />`}
	${dialog?.kind === 'import' && html`<${ImportPanel} key=${dialog.key} file=${dialog.file} statuses=${shown} free=${free} onClose=${close} onDone=${() => catalog.afterWrite()} />`}
	<${Toasts} toasts=${toasts} onGone=${(toast) => { toast.gone?.(); drop(toast.key); }} />`;
}

function App() {
	const [user, setUser] = useState(null); // null: not known yet; false: nobody
	const [notice, setNotice] = useState('');
	const [failure, setFailure] = useState(null);
	const [, redraw] = useReducer((n) => n + 1, 0);
	const catalog = useMemo(() => new Catalog(), []);

	const nobody = (text) => {
		catalog.end();
		setNotice(text);
		setUser(false);
	};
	const enter = (who) => {
		setNotice('');
		setUser(who);
		catalog.load();
	};
	async function begin() {
		setFailure(null);
		try {
			enter(config.session ? await whoAmI() : {});
		} catch (reason) {
			if (reason.code === 'unauthorized') nobody('');
			else setFailure(reason);
		}
	}
	async function leave(say) {
		try {
			await signOut();
			nobody('You have signed out.');
		} catch (reason) {
			say(sentence(reason).text, { bad: true });
		}
	}
	useEffect(() => {
		catalog.listen(redraw, () => nobody(catalog.loaded ? 'Your session has ended. Please sign in again.' : ''));
		begin();
	}, []);

	if (failure) {
		return html`<main class="entrance"><h1>${config.title}</h1><p role="alert">${sentence(failure).text}</p>
			<button class="primary" onClick=${begin}>Try again</button></main>`;
	}
	if (user === null) return html`<main class="entrance" aria-busy="true"><h1>${config.title}</h1></main>`;
	if (user === false) return html`<${SignIn} notice=${notice} onSignedIn=${enter} onAgain=${begin} />`;
	return html`<${Page} user=${user} catalog=${catalog} onLeave=${leave} />`;
}

const root = document.getElementById('root');
root.replaceChildren();
render(html`<${App} />`, root);
