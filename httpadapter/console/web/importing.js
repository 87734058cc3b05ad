// What a file would do to the catalog, found out before anything is written.

import { create, sentence, update } from './api.js';
import { explain } from './editor.js';

export const largestFile = 16 << 20; // bytes
const workers = 4;

// parse reads statuses from JSON: one per line, an array, or answers of the list.
export function parse(text) {
	const body = text.replace(/^\uFEFF/, '');
	let values;
	try {
		values = [JSON.parse(body)];
	} catch {
		const lines = body.split('\n');
		values = [];
		for (const [i, line] of lines.entries()) {
			if (!line.trim()) continue;
			try {
				values.push(JSON.parse(line));
			} catch {
				throw new Error(`Line ${i + 1} is not JSON.`);
			}
		}
	}
	const all = values.flatMap((v) => Array.isArray(v) ? v : Array.isArray(v?.statuses) ? v.statuses : [v]);
	if (all.length === 0) throw new Error('The file has no statuses.');
	return all.map((v, i) => ({
		number: i + 1,
		id: typeof v?._id === 'string' ? v._id : v?._id?.$oid,
		name: typeof v?.name === 'string' ? v.name : '',
		statusType: typeof v?.statusType === 'string' ? v.statusType : '',
	}));
}

// plan says of each status whether it is new, the same, a conflict or a fault, and of the
// last two why.
export function plan(rows, statuses) {
	const byName = new Map();
	for (const status of statuses.values()) byName.set(status.name, status);
	const seen = new Map();
	return rows.map((row) => {
		const fault = explain(row.name, row.statusType) ||
			(seen.has(row.name) && `Status ${seen.get(row.name)} of the file has this name, too.`);
		seen.set(row.name, row.number);
		if (fault) return { ...row, kind: 'fault', why: fault };
		const same = byName.get(row.name), before = statuses.get(row.id);
		if (same && before && same !== before) return { ...row, kind: 'fault', why: 'Another status has this name.' };
		const target = before ?? same;
		if (!target) return { ...row, kind: 'new', why: '' };
		if (target.name === row.name && target.statusType === row.statusType) return { ...row, kind: 'same', why: '' };
		return { ...row, kind: 'conflict', target, why: `It is “${target.name}” (${target.statusType || 'no type'}) in the catalog.` };
	});
}

export const count = (planned) => planned.reduce((n, row) => ({ ...n, [row.kind]: n[row.kind] + 1 }), { new: 0, same: 0, conflict: 0, fault: 0 });

// carryOut writes what is new, and what is in conflict if that is to be updated. It stops
// at the first failure or when stopped says so, and returns what it has done.
export async function carryOut(planned, updates, progress, stopped) {
	const todo = planned.filter((row) => row.kind === 'new' || updates && row.kind === 'conflict');
	let next = 0, done = 0, failure = null;
	await Promise.all(Array.from({ length: workers }, async () => {
		while (next < todo.length && !failure && !stopped()) {
			const row = todo[next++];
			try {
				if (row.kind === 'new') await create(row);
				else await update({ _id: row.target._id, name: row.name, statusType: row.statusType });
				progress(++done, todo.length);
			} catch (reason) {
				failure ??= { name: row.name, text: sentence(reason, row).text, code: reason.code };
			}
		}
	}));
	return { done, total: todo.length, failure };
}

// download gives the browser a file with one status per line.
export function download(statuses) {
	const text = statuses.map((status) => JSON.stringify(status) + '\n').join('');
	const url = URL.createObjectURL(new Blob([text], { type: 'application/x-ndjson' }));
	const link = Object.assign(document.createElement('a'), { href: url, download: 'custom-user-statuses.jsonl' });
	link.click();
	setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
