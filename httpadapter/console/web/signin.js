// Who is nobody yet.

import { sentence, signIn } from './api.js';
import { config, html, Logo, useEffect, useRef, useState } from './lib.js';

// SignIn leads to the host's own login. If there is none, it asks for the credentials of a
// session.
export function SignIn({ notice, onSignedIn, onAgain }) {
	const [error, setError] = useState({});
	const [busy, setBusy] = useState(false);
	const form = useRef(null);
	useEffect(() => {
		form.current?.elements[error.field || 'userId'].focus();
	}, [error]);

	async function submit(event) {
		event.preventDefault();
		const { userId, authToken } = Object.fromEntries(new FormData(form.current));
		if (!userId.trim()) return setError({ field: 'userId', text: 'Enter your user id.' });
		if (!authToken.trim()) return setError({ field: 'authToken', text: 'Enter your token.' });
		setBusy(true);
		try {
			onSignedIn(await signIn(userId.trim(), authToken.trim()));
		} catch (failure) {
			setBusy(false);
			setError(failure.code === 'unauthorized' ? { field: 'authToken', text: 'The user id or the token is wrong.' } : { whole: sentence(failure).text });
		}
	}

	const field = (name, label, properties) => html`<div class="field">
		<label for=${name}>${label}</label>
		<input id=${name} name=${name} autocapitalize="none" spellcheck="false" aria-invalid=${error.field === name ? 'true' : undefined} aria-describedby=${`${name}-error`} ...${properties} />
		<p class="error" id=${`${name}-error`}>${error.field === name && error.text}</p>
	</div>`;
	return html`<main class="entrance">
		<${Logo} />
		<h1>${config.title}</h1>
		<p class="notice" role="status">${notice}</p>
		${config.session && !config.login ? html`<form id="sign-in" ref=${form} novalidate onSubmit=${submit} aria-busy=${busy}>
			${field('userId', 'User id', { autocomplete: 'username' })}
			${field('authToken', 'Token', { type: 'password', autocomplete: 'current-password' })}
			<p class="error whole" role="alert">${error.whole}</p>
			<button class="primary" disabled=${busy}>${busy ? 'Signing in…' : 'Sign in'}</button>
		</form>` : html`<p>You must be signed in to see the statuses.</p>
			<p class="buttons">${config.login && html`<a class="button primary" href=${config.login}>Sign in</a>`}
			<button onClick=${onAgain}>Try again</button></p>`}
	</main>`;
}
