// The preview of an import, and its progress.

import { Dialog } from './dialog.js';
import { carryOut, count, parse, plan } from './importing.js';
import { html, typeName, useEffect, useMemo, useRef, useState } from './lib.js';
import { Name, Type } from './names.js';

const shown = 200;
const order = ['fault', 'conflict', 'new', 'same'];
const words = { fault: 'Can’t be imported', conflict: 'Differs', new: 'New', same: 'Already there' };

export function ImportPanel({ file, statuses, free, onClose, onDone }) {
	const [read, setRead] = useState({});
	const [updates, setUpdates] = useState(false);
	const [running, setRunning] = useState(null);
	const [result, setResult] = useState(null);
	const stopped = useRef(false);
	useEffect(() => {
		file.text().then((text) => setRead({ rows: parse(text) })).catch((reason) => setRead({ error: reason.message }));
		return () => { stopped.current = true; };
	}, []);
	// What others change shows in the preview, but not while this page writes.
	const planned = useMemo(() => read.rows && !running && !result ? plan(read.rows, statuses) : null, [read, running || result ? 0 : statuses, running, result]);

	async function go() {
		setRunning({ done: 0, total: 0 });
		await free(new Set(planned.map((row) => row.name)));
		const outcome = await carryOut(planned, updates, (done, total) => setRunning({ done, total }), () => stopped.current);
		setRunning(null);
		setResult(outcome);
		onDone(outcome);
	}

	let body;
	if (read.error) body = html`<p class="error" role="alert">This file can’t be imported. ${read.error}</p>`;
	else if (result) {
		body = html`<p role="status">${result.done} of ${result.total} statuses are written.</p>
			${result.failure && html`<p class="error" role="alert">It ended at “<bdi>${result.failure.name}</bdi>”: ${result.failure.text} Import the file again for the rest.</p>`}`;
	} else if (running) {
		body = html`<label class="progress">Writing ${running.done} of ${running.total}…<progress max=${running.total || 1} value=${running.done} /></label>`;
	} else if (!planned) body = html`<p role="status">Reading…</p>`;
	else {
		const n = count(planned);
		const rows = planned.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)).slice(0, shown);
		const writes = n.new + (updates ? n.conflict : 0);
		body = html`<ul class="counts">${order.filter((kind) => n[kind] > 0).map((kind) => html`<li key=${kind} class=${kind}><b>${n[kind]}</b> ${words[kind].toLowerCase()}</li>`)}</ul>
			${n.conflict > 0 && html`<label class="check"><input type="checkbox" checked=${updates} onChange=${(e) => setUpdates(e.target.checked)} />
				${n.conflict === 1 ? 'Change the one that differs' : `Change the ${n.conflict} that differ`}</label>`}
			<div class="preview" tabindex="0" role="region" aria-label="Preview">
				<table><thead><tr><th scope="col">Name</th><th scope="col">Type</th><th scope="col">What happens</th></tr></thead>
				<tbody>${rows.map((row) => html`<tr key=${row.number} class=${row.kind}>
					<td>${row.name ? html`<${Name} of=${row.name} />` : html`<i>Status ${row.number}</i>`}</td>
					<td>${row.statusType ? html`<${Type} of=${row.statusType} name=${typeName(row.statusType)} />` : '–'}</td>
					<td><span class="kind">${row.kind === 'conflict' ? (updates ? 'Changes' : 'Left out') : words[row.kind]}</span> ${row.why}</td></tr>`)}</tbody></table>
			</div>
			<p class="hint"><span>${planned.length > shown ? `These are ${shown} of ${planned.length}. ` : ''}Nothing is written yet. New statuses get ids of their own.</span></p>
			<div class="buttons"><span class="space" />
				<button type="button" onClick=${onClose}>Cancel</button>
				<button class="primary" disabled=${writes === 0} onClick=${go}>${writes === 0 ? 'Nothing to import' : `Import ${writes}`}</button></div>`;
	}
	return html`<${Dialog} kind="wide" title="Import" onClose=${onClose}>
		<p class="quiet file">${file.name}</p>
		${body}
		${(read.error || result || running || !planned) && html`<div class="buttons"><span class="space" /><button data-first onClick=${onClose}>${running ? 'Stop' : 'Close'}</button></div>`}
	<//>`;
}
