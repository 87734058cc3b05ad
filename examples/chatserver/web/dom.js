// The page's dealings with the document. Texts of people go in as text, never as HTML.

export const $ = (id) => document.getElementById(id);

export function element(tag, properties, ...children) {
	const made = Object.assign(document.createElement(tag), properties);
	made.append(...children);
	return made;
}

// named shows a name that may be cut. The whole name shows on hover.
export function named(place, name) {
	place.textContent = name;
	place.title = name;
}

// showList makes the list's rows those of the items. It keeps the rows of items that
// stay, and with them the focus and what is being read. make returns a row and what fills
// the row with its item.
export function showList(list, items, key, make) {
	const focused = document.activeElement;
	const keys = new Set(items.map(key));
	let lost = false;
	for (const row of [...list.children]) {
		if (keys.has(row.dataset.key)) continue;
		lost ||= row.contains(focused);
		row.remove();
	}
	const rows = new Map([...list.children].map((row) => [row.dataset.key, row]));
	items.forEach((item, i) => {
		let row = rows.get(key(item));
		if (!row) {
			row = make();
			row.dataset.key = key(item);
		}
		row.fill(item);
		if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
	});
	if (lost) list.focus({ preventScroll: true });
	else if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

// --- dialogs

// openDialog opens a modal dialog. When the dialog closes, the browser gives the focus
// back to what had it; fallback gets the focus if that is gone.
export function openDialog(dialog, fallback) {
	clearErrors(dialog);
	const opener = document.activeElement;
	dialog.showModal();
	dialog.addEventListener('close', () => {
		if (!opener.isConnected) fallback.focus();
	}, { once: true });
}

for (const button of document.querySelectorAll('[data-closes]')) {
	button.addEventListener('click', () => button.closest('dialog').close());
}

// toast says something that needs no answer, and the name that it is about.
export function toast(text, name = '') {
	const about = element('span', { className: 'line about' });
	named(about, name);
	const made = element('p', { className: 'toast' }, element('span', { textContent: text }), ' ', about);
	$('toasts').append(made);
	made.addEventListener('click', () => made.remove());
	setTimeout(() => made.remove(), 6000);
}

// --- forms

export function clearErrors(place) {
	for (const error of place.querySelectorAll('.error')) error.textContent = '';
	for (const field of place.querySelectorAll('[aria-invalid]')) field.removeAttribute('aria-invalid');
}

// showError shows an error at the form's field of that name and goes there, or shows it
// for the whole form.
export function showError(place, { field, text }) {
	const input = field && place.querySelector(`[name="${field}"]`);
	if (!input) {
		place.querySelector('.error.whole').textContent = text;
		return;
	}
	$(`${place.id}-${field}-error`).textContent = text;
	for (const one of place.querySelectorAll(`[name="${field}"]`)) one.setAttribute('aria-invalid', 'true');
	input.focus();
}

// onSubmit calls action with the form's fields, once at a time.
export function onSubmit(form, action, fail) {
	let running = false;
	form.addEventListener('submit', async (event) => {
		event.preventDefault();
		if (running) return;
		running = true;
		clearErrors(form);
		form.setAttribute('aria-busy', 'true');
		const typed = Object.fromEntries(new FormData(form));
		const failure = await action(typed).then(() => null, (reason) => reason);
		running = false;
		form.removeAttribute('aria-busy');
		if (failure) fail(form, failure, typed);
	});
}
