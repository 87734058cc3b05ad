// Dialogs and the short messages at the edge of the page.

import { html, useEffect, useId, useLayoutEffect, useRef } from './lib.js';

// Dialog is open as long as it is on the page. The browser keeps the focus in it, and gives
// the focus back at the end.
export function Dialog({ kind = '', title, onClose, children }) {
	const ref = useRef(null);
	const id = useId();
	useLayoutEffect(() => {
		const dialog = ref.current;
		dialog.showModal();
		dialog.querySelector('[data-first]')?.focus();
		return () => dialog.close();
	}, []);
	const cancel = (event) => {
		event.preventDefault();
		onClose();
	};
	const closed = () => {
		if (ref.current?.isConnected) onClose(); // the browser closes it after a second Escape
	};
	return html`<dialog ref=${ref} class=${kind} role=${kind === 'ask' ? 'alertdialog' : undefined} aria-labelledby=${id}
		onCancel=${cancel} onClose=${closed}>
		<h2 id=${id}>${title}</h2>
		${children}
	</dialog>`;
}

// Toast goes by itself after a while, but not while somebody points at it or is in it.
function Toast({ toast, onGone }) {
	const timer = useRef(0);
	const stop = () => clearTimeout(timer.current);
	const start = () => {
		stop();
		// Nobody reaches it while a dialog is open.
		timer.current = setTimeout(() => document.querySelector('dialog[open]') ? start() : onGone(toast), toast.time);
	};
	useEffect(() => {
		start();
		return stop;
	}, []);
	return html`<div class=${`toast ${toast.bad ? 'bad' : ''}`} onMouseEnter=${stop} onMouseLeave=${start} onFocusIn=${stop} onFocusOut=${start}>
		<p>${toast.text}</p>
		${toast.undo && html`<button class="plain" onClick=${() => toast.undo()}>Undo</button>`}
		<button class="plain icon" aria-label="Close" onClick=${() => onGone(toast)}>✕</button>
	</div>`;
}

// Toasts are in the top layer, above dialogs.
export function Toasts({ toasts, onGone }) {
	const ref = useRef(null);
	useLayoutEffect(() => {
		if (ref.current.matches(':popover-open')) ref.current.hidePopover();
		if (toasts.length > 0) ref.current.showPopover();
	}, [toasts]);
	return html`<div ref=${ref} class="toasts" popover="manual" role="log" aria-live="polite" aria-label="Messages">
		${toasts.map((toast) => html`<${Toast} key=${toast.key} toast=${toast} onGone=${onGone} />`)}
	</div>`;
}
