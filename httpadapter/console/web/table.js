// The table of statuses, its order and its pages.

import { html, typeName, typeNames, useMemo } from './lib.js';
import { Name, Type } from './names.js';

const names = new Intl.Collator(undefined, { sensitivity: 'variant' });
const types = Object.keys(typeNames);
const rank = (type) => (types.indexOf(type) + types.length + 1) % (types.length + 1);

const orders = {
	name: (a, b) => names.compare(a.name, b.name),
	statusType: (a, b) => rank(a.statusType) - rank(b.statusType) || names.compare(a.name, b.name),
	_updatedAt: (a, b) => a._updatedAt < b._updatedAt ? -1 : a._updatedAt > b._updatedAt ? 1 : names.compare(a.name, b.name),
};

// useRows returns the statuses that match, in order. The filter is text, not an expression.
export function useRows(catalog, hidden, filter, sort) {
	return useMemo(() => {
		const part = filter.toLowerCase();
		const rows = [];
		for (const status of catalog.statuses.values()) {
			if (!hidden.has(status._id) && (part === '' || status.name.toLowerCase().includes(part))) rows.push(status);
		}
		rows.sort(orders[sort.by]);
		return sort.down ? rows.reverse() : rows;
	}, [catalog.version, hidden, filter, sort]);
}

const time = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const when = (text) => Number.isNaN(Date.parse(text)) ? '' : time.format(new Date(text));

function Column({ by, sort, onSort, children }) {
	const on = sort.by === by;
	return html`<th scope="col" class=${by} aria-sort=${on ? (sort.down ? 'descending' : 'ascending') : undefined}>
		<button class="plain" onClick=${() => onSort({ by, down: on && !sort.down })}>${children}<span class="arrow" aria-hidden="true">${on ? (sort.down ? '↓' : '↑') : ''}</span></button></th>`;
}

// Table shows a page of rows.
export function Table({ rows, changed, sort, onSort, onOpen, writable }) {
	return html`<div class="table" id="table" tabindex="-1" role="region" aria-label="Statuses">
		<table><thead><tr>
			<${Column} by="name" sort=${sort} onSort=${onSort}>Name<//>
			<${Column} by="statusType" sort=${sort} onSort=${onSort}>Type<//>
			<${Column} by="_updatedAt" sort=${sort} onSort=${onSort}>Changed<//>
		</tr></thead><tbody id="rows">${rows.map((s) => html`<tr key=${s._id} data-id=${s._id} class=${changed.has(s._id) ? 'fresh' : ''}
			onClick=${writable ? () => onOpen(s) : undefined}>
			<td class="name">${writable ? html`<button class="plain" aria-label=${`Edit ${s.name}`} onClick=${(e) => { e.stopPropagation(); onOpen(s); }}><${Name} of=${s.name} /></button>` : html`<${Name} of=${s.name} />`}</td>
			<td class="statusType"><${Type} of=${s.statusType} name=${typeName(s.statusType)} /></td>
			<td class="_updatedAt"><time datetime=${s._updatedAt}>${when(s._updatedAt)}</time></td></tr>`)}</tbody></table>
	</div>`;
}

// Skeleton stands for a table that is on its way.
export function Skeleton({ loading }) {
	return html`<div class="table skeleton" role="status">
		<p class="hidden">Loading the statuses…</p>
		${Array.from({ length: 8 }, (_, i) => html`<div key=${i} aria-hidden="true"><span /><span /></div>`)}
		${loading.total > 1000 && html`<p class="quiet">${loading.done} of ${loading.total}</p>`}
	</div>`;
}

export function Pager({ page, pages, size, onPage, onSize }) {
	return html`<nav class="pager" aria-label="Pages">
		<label>Rows <select value=${size} onChange=${(e) => onSize(Number(e.target.value))}>${[25, 50, 100].map((n) => html`<option key=${n} value=${n} selected=${n === size}>${n}</option>`)}</select></label>
		<span class="space" />
		<button aria-label="First page" disabled=${page === 0} onClick=${() => onPage(0)}>«</button>
		<button aria-label="Previous page" disabled=${page === 0} onClick=${() => onPage(page - 1)}>‹</button>
		<span class="at">${page + 1} / ${pages}</span>
		<button aria-label="Next page" disabled=${page >= pages - 1} onClick=${() => onPage(page + 1)}>›</button>
		<button aria-label="Last page" disabled=${page >= pages - 1} onClick=${() => onPage(pages - 1)}>»</button>
	</nav>`;
}
