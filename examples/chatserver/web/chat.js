'use strict';

const $ = (id) => document.getElementById(id);

let login = null; // {userId, authToken, me} while somebody is logged in
let ending = null; // aborts the streams of this login
const people = new Map(); // by id
const statuses = new Map(); // the catalog, by id

// --- requests

function headers(more) {
	return { 'X-User-Id': login.userId, 'X-Auth-Token': login.authToken, ...more };
}

async function post(path, body) {
	const answer = await fetch('/api/v1/' + path, {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', ...(login ? headers() : {}) },
		body: JSON.stringify(body),
	});
	const result = await answer.json();
	if (!answer.ok) throw new Error(result.error);
	return result;
}

// stream reads server-sent events for as long as this login lasts. EventSource
// can't send the headers of a login, so this does what it does: it comes back
// when the connection breaks, with the id of the last event it has seen.
async function stream(path, on) {
	const { signal } = ending;
	let last = '';
	while (!signal.aborted) {
		try {
			const answer = await fetch('/api/v1/' + path, {
				headers: headers(last ? { 'Last-Event-ID': last } : {}),
				signal,
			});
			if (answer.status === 401) return leave();
			if (!answer.ok) throw new Error(answer.statusText);
			$('connection').textContent = '';
			let text = '';
			for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
				const events = (text + piece).split('\n\n');
				text = events.pop(); // not all of it is here yet
				for (const event of events) {
					const fields = new Map(event.split('\n').map((line) => {
						const colon = line.indexOf(': ');
						return [line.slice(0, colon), line.slice(colon + 2)];
					}));
					on[fields.get('event')]?.(JSON.parse(fields.get('data')));
					last = fields.get('id');
				}
			}
		} catch (error) {
			if (signal.aborted) return;
			console.warn(path, error);
		}
		if (signal.aborted) return;
		$('connection').textContent = 'connecting…';
		await new Promise((resume) => setTimeout(resume, 1000 + 2000 * Math.random()));
	}
}

// --- what is shown; texts of people go in as text, never as HTML

function element(tag, properties, ...children) {
	const made = Object.assign(document.createElement(tag), properties);
	made.append(...children);
	return made;
}

function byName(map) {
	return [...map.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function showPeople() {
	$('people').replaceChildren(...byName(people).map((p) => element('li', {},
		element('span', { className: 'dot ' + (p.status ? p.status.statusType : '') }),
		p.name,
		element('small', { textContent: p.status ? p.status.name : '' }),
	)));
	$('pick').value = people.get(login.userId)?.status?.id ?? '';
}

function showStatuses() {
	const sorted = byName(statuses);
	$('pick').replaceChildren(
		element('option', { value: '', textContent: 'none' }),
		...sorted.map((s) => element('option', { value: s._id, textContent: s.name })),
	);
	$('pick').value = people.get(login.userId)?.status?.id ?? '';
	$('statuses').replaceChildren(...sorted.map((s) => element('li', {},
		element('span', { textContent: s.name }),
		element('small', { textContent: s.statusType }),
		element('button', { textContent: 'Rename', onclick: () => rename(s) }),
		element('button', { textContent: 'Delete', onclick: () => remove(s) }),
	)));
}

function showMessage(m) {
	const line = element('li', { title: new Date(m.sent).toLocaleString() },
		element('b', { textContent: m.from }), m.text);
	$('messages').append(line);
	line.scrollIntoView();
}

function enter() {
	people.clear();
	statuses.clear();
	ending = new AbortController();
	$('me').textContent = login.me.username;
	$('admin').hidden = !login.me.roles.includes('admin');
	$('login').hidden = true;
	$('chat').hidden = false;

	stream('chat.roomEvents', {
		room(all) {
			people.clear();
			all.people.forEach((p) => people.set(p.id, p));
			showPeople();
			$('messages').replaceChildren();
			all.messages.forEach(showMessage);
		},
		person(p) {
			people.set(p.id, p);
			showPeople();
		},
		message: showMessage,
	});
	stream('chat.statusEvents', {
		statuses(all) {
			statuses.clear();
			(all ?? []).forEach((s) => statuses.set(s._id, s));
			showStatuses();
		},
		changes(changes) {
			for (const { deleted, status } of changes) {
				if (deleted) statuses.delete(status._id);
				else statuses.set(status._id, status);
			}
			showStatuses();
		},
	});
}

function leave() {
	ending?.abort();
	login = null;
	$('chat').hidden = true;
	$('login').hidden = false;
}

// --- what people do

// doing runs what a form or button does, and shows beside it why it failed.
async function doing(where, action) {
	const error = where.querySelector('.error');
	error.textContent = '';
	try {
		await action();
	} catch (failure) {
		error.textContent = failure.message;
	}
}

function onSubmit(id, where, action) {
	$(id).addEventListener('submit', (event) => {
		event.preventDefault();
		doing(where, () => action(Object.fromEntries(new FormData(event.target)), event.target));
	});
}

const aside = document.querySelector('aside');

onSubmit('login', $('login'), async (fields, form) => {
	login = null;
	login = (await post('login', fields)).data;
	form.reset();
	enter();
});

onSubmit('say', aside, async (fields, form) => {
	await post('chat.postMessage', fields);
	form.reset();
});

onSubmit('create', aside, async (fields, form) => {
	await post('custom-user-status.create', fields);
	form.reset();
});

function rename(s) {
	const name = prompt('New name', s.name);
	if (name === null) return;
	doing(aside, () => post('custom-user-status.update', { _id: s._id, name, statusType: s.statusType }));
}

function remove(s) {
	doing(aside, () => post('custom-user-status.delete', { customUserStatusId: s._id }));
}

$('pick').addEventListener('change', () => {
	doing(aside, () => post('users.setStatus', { statusId: $('pick').value }));
});

$('logout').addEventListener('click', async () => {
	await post('logout', {}).catch(() => {});
	leave();
});
