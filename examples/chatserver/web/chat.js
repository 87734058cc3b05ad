import { $, clearErrors, element, named, onSubmit, openDialog, showError, showList, toast } from './dom.js';
import { Refusal, sentence } from './words.js';

let me = null; // who is logged in
let streams = []; // what ends the streams of this login
const people = new Map(); // by id
const statuses = new Map(); // the catalog, by id
let editing = null; // the status in the editor, as it was when the editor opened or somebody changed it
let removing = null; // the status that is about to be deleted

// --- requests; the browser adds the cookie of the login

const patience = 15_000; // milliseconds

async function request(method, path, body) {
	let answer, result;
	try {
		answer = await fetch(path, {
			method,
			headers: body ? { 'Content-Type': 'application/json' } : {},
			body: body && JSON.stringify(body),
			signal: AbortSignal.timeout(patience),
		});
		result = await answer.json();
	} catch {
		throw new Refusal('unreachable');
	}
	if (answer.ok) return result;
	throw new Refusal(result.errorType ?? (answer.status === 401 ? 'unauthorized' : ''), result.details);
}

const post = (path, body) => request('POST', '/api/v1/' + path, body);

const whoAmI = async () => (await request('GET', '/session')).user;

// fail shows in a form or a dialog why something failed.
function fail(place, failure, typed = {}) {
	if (failure.code === 'unauthorized') return leave(sentence(failure).text);
	showError(place, sentence(failure, typed));
	showMeanwhile();
}

// --- events

const broken = new Set(); // the streams that have no connection

// follow reads server-sent events until the returned function is called. The browser
// comes back by itself when the connection breaks, with the id of the last event. It
// gives up when it is refused: then the login has ended, or a proxy answers for a
// server that is away.
function follow(path, handlers) {
	let source, timer, ended = false, before = false;
	const open = () => {
		source = new EventSource('/api/v1/' + path);
		for (const [name, handle] of Object.entries(handlers)) {
			source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
		}
		source.onopen = () => {
			connected(path, true);
			if (before) recheck(); // another tab may have logged in as somebody else
			before = true;
		};
		source.onerror = async () => {
			connected(path, false);
			if (source.readyState !== EventSource.CLOSED) return;
			await recheck();
			if (!ended) timer = setTimeout(open, 2000 + 2000 * Math.random());
		};
	};
	open();
	return () => {
		ended = true;
		clearTimeout(timer);
		source.close();
		connected(path, true);
	};
}

function connected(path, yes) {
	if (yes) broken.delete(path);
	else broken.add(path);
	$('connection').textContent = broken.size > 0 ? 'The connection is lost. Trying again…' : '';
}

async function recheck() {
	let user;
	try {
		user = await whoAmI();
	} catch {
		return; // the server is away
	}
	if (me === null || user?._id === me._id) return;
	if (user) enter(user);
	else leave('Your login has ended. Please log in again.');
}

// --- what is shown

const order = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
const byName = (map) => [...map.values()].sort((a, b) => order.compare(a.name, b.name) || (a.name < b.name ? -1 : 1));
const typeName = { online: 'Online', away: 'Away', busy: 'Busy', offline: 'Offline' };

function avatar(name) {
	let sum = 0;
	for (const c of name) sum += c.codePointAt(0);
	const made = element('span', { className: 'avatar hue' + (sum % 6), textContent: [...name][0].toUpperCase() });
	made.setAttribute('aria-hidden', 'true');
	return made;
}

function showPeople() {
	showList($('people'), byName(people), (p) => p.id, () => {
		const dot = element('span', { className: 'dot' });
		const name = element('span', { className: 'line name' });
		const status = element('span', { className: 'clamp quiet' });
		const type = element('span', { className: 'hidden' });
		const holder = element('span', { className: 'holder' }, dot);
		const row = element('li', { className: 'person' }, holder, element('span', { className: 'words' }, name, status, type));
		row.fill = (p) => {
			if (holder.childElementCount === 1) holder.prepend(avatar(p.name));
			dot.className = 'dot ' + (p.status?.statusType ?? 'none');
			named(name, p.id === me._id ? `${p.name} (you)` : p.name);
			named(status, p.status?.name ?? '');
			type.textContent = p.status ? ` – ${typeName[p.status.statusType] ?? ''}` : '';
		};
		return row;
	});
	showMine();
}

function showMine() {
	const mine = people.get(me._id)?.status;
	$('pick-dot').className = 'dot ' + (mine?.statusType ?? 'none');
	named($('pick-name'), mine?.name ?? 'Set a status');
	showList($('choices'), [{ _id: '', name: 'No status', statusType: 'none' }, ...byName(statuses)], (s) => s._id, () => {
		const dot = element('span', { className: 'dot' });
		const name = element('span', { className: 'words' });
		const type = element('span', { className: 'quiet' });
		const button = element('button', { type: 'button' }, dot, name, type);
		const row = element('li', {}, button);
		row.fill = (s) => {
			dot.className = 'dot ' + s.statusType;
			name.textContent = s.name;
			type.textContent = typeName[s.statusType] ?? '';
			button.onclick = () => choose(s);
			button.setAttribute('aria-pressed', String(s._id === (people.get(me._id)?.status?.id ?? '')));
		};
		return row;
	});
}

function showStatuses() {
	$('no-statuses').hidden = statuses.size > 0;
	showList($('statuses'), byName(statuses), (s) => s._id, () => {
		const dot = element('span', { className: 'dot' });
		const name = element('span', { className: 'clamp name' });
		const type = element('span', { className: 'quiet' });
		const edit = element('button', { type: 'button', textContent: 'Edit' });
		const remove = element('button', { type: 'button', textContent: 'Delete' });
		const row = element('li', {}, dot, element('span', { className: 'words' }, name, type), edit, remove);
		row.fill = (s) => {
			dot.className = 'dot ' + s.statusType;
			named(name, s.name);
			type.textContent = typeName[s.statusType] ?? s.statusType;
			edit.setAttribute('aria-label', `Edit ${s.name}`);
			remove.setAttribute('aria-label', `Delete ${s.name}`);
			edit.onclick = () => openEditor(s);
			remove.onclick = () => openRemover(s);
		};
		return row;
	});
	showMine();
	showMeanwhile();
}

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

function showMessage(m) {
	const scroller = $('scroller');
	const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
	const sent = new Date(m.sent);
	$('messages').append(element('li', { className: 'message' }, avatar(m.from), element('div', { className: 'words' },
		element('span', { className: 'name', textContent: m.from }), ' ',
		element('time', { className: 'quiet', dateTime: m.sent, title: sent.toLocaleString(), textContent: clock.format(sent) }),
		element('p', { textContent: m.text }))));
	$('no-messages').hidden = true;
	if (atEnd || m.from === me.username) scroller.scrollTop = scroller.scrollHeight;
}

function show(view) {
	$('chat').dataset.view = view;
	for (const button of document.querySelectorAll('[data-shows]')) {
		if (button.dataset.shows === view) button.setAttribute('aria-current', 'page');
		else button.removeAttribute('aria-current');
	}
}

for (const button of document.querySelectorAll('[data-shows]')) {
	button.addEventListener('click', () => show(button.dataset.shows));
}

// --- coming and going

function enter(user) {
	stopFollowing();
	const admin = user.roles.includes('admin');
	if (me?._id !== user._id) $('say').reset(); // a draft stays its author's
	me = user;
	named($('me'), user.username);
	$('admin').hidden = $('admin-view').hidden = !admin;
	show('room');
	$('entrance').hidden = true;
	$('chat').hidden = false;

	streams = [
		follow('chat.roomEvents', {
			room(all) {
				people.clear();
				all.people.forEach((p) => people.set(p.id, p));
				showPeople();
				$('scroller').setAttribute('aria-busy', 'true'); // old messages are not read aloud
				$('messages').replaceChildren();
				$('no-messages').hidden = false;
				all.messages.forEach(showMessage);
				$('scroller').scrollTop = $('scroller').scrollHeight;
				$('scroller').removeAttribute('aria-busy');
			},
			person(p) {
				const lost = p.id === me._id && p.status === null && people.get(p.id)?.status;
				people.set(p.id, p);
				showPeople();
				if (lost) lostStatus(lost);
			},
			message: showMessage,
		}),
		follow('chat.statusEvents', {
			statuses(all) {
				statuses.clear();
				(all ?? []).forEach((s) => statuses.set(s._id, s));
				showStatuses();
			},
			changes(changes) {
				for (const { deleted, status } of changes) {
					if (deleted) statuses.delete(status._id);
					else statuses.set(status._id, status);
					if (leaving?.id === status._id) lostStatus(leaving);
				}
				showStatuses();
			},
		}),
	];
}

function stopFollowing() {
	streams.splice(0).forEach((stop) => stop());
	people.clear();
	statuses.clear();
}

function leave(notice) {
	stopFollowing();
	for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
	clearErrors($('login'));
	$('notice').textContent = notice;
	$('chat').hidden = true;
	$('entrance').hidden = false;
	$('login-user').focus();
}

onSubmit($('login'), async (typed) => {
	for (const field of ['user', 'password']) {
		if (typed[field] === '') return showError($('login'), { field, text: `Enter your ${field === 'user' ? 'name' : 'password'}.` });
	}
	const { user } = await request('POST', '/session', typed);
	$('login').reset();
	$('notice').textContent = '';
	enter(user);
	$('say-text').focus();
}, fail);

$('logout').addEventListener('click', async () => {
	try {
		await request('DELETE', '/session');
	} catch (failure) {
		return toast(sentence(failure).text); // still logged in
	}
	$('say').reset();
	me = null;
	leave('You have logged out.');
});

// --- what people do

onSubmit($('say'), async (typed) => {
	await post('chat.postMessage', typed);
	if ($('say-text').value === typed.text) $('say').reset();
}, fail);

// lostStatus tells somebody whose status is gone that it was deleted. The news of the
// person and of the deletion come on two streams, in any order. Without a deletion, the
// person has chosen to show no status.
let leaving = null;

function lostStatus(status) {
	leaving = statuses.has(status.id) ? status : null;
	if (!leaving) toast('Your status was deleted. You show none now.', status.name);
}

$('pick').addEventListener('click', () => openDialog($('picker'), $('pick')));

async function choose(s) {
	clearErrors($('picker'));
	try {
		await post('users.setStatus', { statusId: s._id });
		$('picker').close();
	} catch (failure) {
		fail($('picker'), failure);
	}
}

$('add').addEventListener('click', () => openEditor(null));

function openEditor(s) {
	editing = s;
	$('editor-title').textContent = s ? 'Edit status' : 'New status';
	$('edit').elements.name.value = s?.name ?? '';
	$('edit').elements.statusType.value = s?.statusType ?? 'busy';
	openDialog($('editor'), $('statuses'));
	showMeanwhile();
	$('edit-name').select();
}

// showMeanwhile tells who is editing what others have done to the status. It leaves alone
// what has been typed.
function showMeanwhile() {
	if ($('edit').hasAttribute('aria-busy')) return; // the change may be this page's own
	const now = editing && statuses.get(editing._id);
	let text = '';
	if ($('editor').open && editing && !now) {
		text = 'Somebody else has deleted this status.';
	} else if ($('editor').open && now && (now.name !== editing.name || now.statusType !== editing.statusType)) {
		text = `Somebody else has changed this status. It is “${now.name}” (${typeName[now.statusType]}) now. Saving replaces that.`;
	}
	if ($('meanwhile').textContent !== text) $('meanwhile').textContent = text;
	$('save').disabled = Boolean(editing && !now);
	if (removing && !statuses.has(removing._id) && $('remover').open && !$('remove').hasAttribute('aria-busy')) {
		$('remover').close();
		toast('Somebody else has deleted this status:', removing.name);
	}
}

onSubmit($('edit'), async (typed) => {
	const { name, statusType } = typed;
	const s = editing;
	try {
		if (s) await post('custom-user-status.update', { _id: s._id, name, statusType });
		else await post('custom-user-status.create', { name, statusType });
	} catch (failure) {
		// The answer about an unknown id has no code, as in Rocket.Chat.
		throw s && failure.code === '' ? new Refusal('gone') : failure;
	}
	$('editor').close();
	toast(s ? 'The status is saved:' : 'The status is added:', name);
}, fail);

function openRemover(s) {
	removing = s;
	const users = [...people.values()].filter((p) => p.status?.id === s._id).length;
	$('remover-text').textContent = `“${s.name}” can’t be brought back.` +
		(users === 1 ? ' One person shows it, and will show no status.' : users > 1 ? ` ${users} people show it, and will show no status.` : '');
	openDialog($('remover'), $('statuses'));
}

onSubmit($('remove'), async () => {
	const s = removing;
	await post('custom-user-status.delete', { customUserStatusId: s._id });
	$('remover').close();
	toast('The status is deleted:', s.name);
}, fail);

// --- the start: a reload finds the login in the cookie

try {
	const user = await whoAmI();
	if (user) enter(user);
	else leave('');
} catch (failure) {
	leave('');
	fail($('login'), failure);
}
