// The panel that creates and edits a status, and the question before it is deleted.

import { create, lengthOf, longestName, nameFault, sentence, update } from './api.js';
import { Dialog } from './dialog.js';
import { html, typeName, typeNames, useEffect, useRef, useState } from './lib.js';
import { Type, withEmoji } from './names.js';

// Editor edits a status, or makes a new one. The status now is what the catalog has under
// the id, if it still has it.
export function Editor({ status, now, free, onClose, onDelete, onSaved }) {
	const [draft, setDraft] = useState({ name: status?.name ?? '', statusType: status ? status.statusType : 'busy' });
	const [error, setError] = useState({});
	const [busy, setBusy] = useState(false);
	const name = useRef(null), types = useRef(null);
	const gone = status && !now && !busy;
	const other = status && now && !busy && (now.name !== status.name || now.statusType !== status.statusType);

	useEffect(() => {
		if (error.field === 'name') name.current.focus();
		if (error.field === 'statusType') types.current.querySelector('input').focus();
	}, [error]);

	async function save(event) {
		event.preventDefault();
		if (busy || gone) return;
		if (!draft.name.trim()) return setError({ field: 'name', text: 'Enter a name.' });
		if (!typeNames[draft.statusType]) return setError({ field: 'statusType', text: 'Choose a type.' });
		setBusy(true);
		setError({});
		try {
			await free(new Set([draft.name]));
			const answer = status ? await update({ _id: status._id, ...draft }) : await create(draft);
			onSaved(answer.customUserStatus, !status);
		} catch (failure) {
			setBusy(false);
			setError(sentence(failure, draft));
		}
	}

	const shows = withEmoji(draft.name);
	const errorAt = (field) => html`<p class="error" id=${`edit-${field}-error`}>${error.field === field && error.text}</p>`;
	return html`<${Dialog} kind="panel" title=${status ? 'Edit status' : 'New status'} onClose=${onClose}>
		<form id="edit" novalidate onSubmit=${save} aria-busy=${busy}>
			<p class="notice" role="status">${gone ? 'Somebody else has deleted this status.'
				: other ? html`Somebody else has changed this status. It is “<bdi>${now.name}</bdi>” (${typeName(now.statusType)}) now. Saving replaces that.` : ''}</p>
			<div class="field">
				<label for="edit-name">Name</label>
				<input id="edit-name" ref=${name} data-first name="name" autocomplete="off" dir="auto" required value=${draft.name}
					aria-invalid=${error.field === 'name' ? 'true' : undefined} aria-describedby="edit-name-error edit-name-hint"
					onInput=${(e) => setDraft({ ...draft, name: e.target.value })} />
				${errorAt('name')}
				<p class="hint" id="edit-name-hint"><span>${shows === draft.name ? 'Short codes such as :coffee: show as emoji.' : html`Shows as <bdi>${shows}</bdi>`}</span>
					<span class=${lengthOf(draft.name) > longestName ? 'error' : ''}>${lengthOf(draft.name)} / ${longestName}</span></p>
			</div>
			<fieldset class="field" ref=${types} aria-describedby="edit-statusType-error">
				<legend>Type</legend>
				<div class="types">${Object.entries(typeNames).map(([type, label]) => html`<label key=${type}>
					<input type="radio" name="statusType" value=${type} checked=${draft.statusType === type}
						onChange=${() => setDraft({ ...draft, statusType: type })} /><${Type} of=${type} name=${label} /></label>`)}</div>
				${errorAt('statusType')}
			</fieldset>
			<p class="error whole" role="alert">${!error.field && error.text}</p>
			<div class="buttons">
				${status && html`<button type="button" class="danger plain" disabled=${gone || busy} onClick=${onDelete}>Delete</button>`}
				<span class="space" />
				<button type="button" onClick=${onClose}>Cancel</button>
				<button class="primary" disabled=${gone || busy}>${busy ? 'Saving…' : 'Save'}</button>
			</div>
		</form>
	<//>`;
}

// Question asks whether a status is to be deleted.
export function Question({ status, onNo, onYes }) {
	return html`<${Dialog} kind="ask" title="Delete this status?" onClose=${onNo}>
		<p>“<bdi>${withEmoji(status.name)}</bdi>” will no longer be there for anybody. You can undo this for some seconds.</p>
		<div class="buttons">
			<span class="space" />
			<button data-first onClick=${onNo}>Cancel</button>
			<button class="danger" onClick=${onYes}>Delete</button>
		</div>
	<//>`;
}

// explain is why a name would be refused, for the preview of an import.
export const explain = (name, type) => nameFault(name) || (type ? (typeNames[type] ? '' : `“${type}” is no type.`) : 'It has no type.');
