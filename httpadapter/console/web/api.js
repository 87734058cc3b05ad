// Requests to the server, and what its refusals mean. The browser adds the cookie.

import { config } from './lib.js';

const patience = 20_000; // milliseconds

// Refusal is why a request failed: a code, the field and the request's id if known, and
// whether the request was a write.
export class Refusal extends Error {
	constructor(code, { field = '', requestId = '', wrote = false } = {}) {
		super(code);
		Object.assign(this, { code, field, requestId, wrote });
	}
}

async function request(method, url, body, keepalive = false) {
	const wrote = method !== 'GET';
	const fails = (error, code) => new Refusal(error.name === 'TimeoutError' ? 'late' : code, { wrote });
	let answer, result;
	try {
		answer = await fetch(url, {
			method,
			keepalive,
			credentials: 'same-origin',
			headers: body ? { 'Content-Type': 'application/json' } : {},
			body: body && JSON.stringify(body),
			signal: keepalive ? undefined : AbortSignal.timeout(patience),
		});
	} catch (error) {
		throw fails(error, 'unreachable');
	}
	try {
		result = Object(await answer.json());
	} catch (error) {
		throw fails(error, answer.status === 401 ? 'unauthorized' : 'no-json');
	}
	if (answer.ok) return { ...result, position: answer.headers.get('X-Catalog-Position') ?? '' };
	const code = answer.status === 401 ? 'unauthorized' : result.errorType ?? (answer.status === 400 ? 'unknown-id' : 'failed');
	throw new Refusal(code, { field: result.details?.field, requestId: answer.headers.get('X-Request-Id') ?? '', wrote });
}

export const endpoint = (name) => config.api + 'custom-user-status.' + name;

export async function listFrom(offset) {
	const page = await request('GET', `${endpoint('list')}?count=0&offset=${offset}`);
	if (!page.statuses) throw new Refusal('no-json');
	return page;
}
export const create = ({ name, statusType }) => request('POST', endpoint('create'), { name, statusType });
export const update = ({ _id, name, statusType }) => request('POST', endpoint('update'), { _id, name, statusType });
export const remove = (id, keepalive) => request('POST', endpoint('delete'), { customUserStatusId: id }, keepalive);

export const whoAmI = () => request('GET', config.session);
export const signIn = (userId, authToken) => request('POST', config.session, { userId, authToken });
export const signOut = () => request('DELETE', config.session);

const sentences = {
	'unreachable': 'The server can’t be reached. Check your connection, and try again.',
	'late': 'The server has not answered in time.',
	'no-json': 'Something between this page and the server has answered instead of it. Try again later.',
	'unauthorized': 'You are not signed in any more.',
	'not_authorized': 'You may look at the statuses, but not change them.',
	'error-cross-origin': 'The server takes this page for one of another site.',
	'error-too-many-statuses': 'The catalog is full. Delete a status first.',
	'error-status-too-large': 'The status is too large to be stored.',
	'Custom_User_Status_Error_Name_Already_In_Use': 'Another status has this name. Choose a different one.',
	'Custom_User_Status_Error_Invalid_User_Status': 'Somebody else has deleted this status.',
	'unknown-id': 'Somebody else has deleted this status.',
};

// sentence says a failure to people: a text, and the field that it is about, if any.
export function sentence(failure, { name = '' } = {}) {
	const { code, field, requestId, wrote } = failure;
	const at = field === 'StatusType' ? 'statusType' : 'name';
	if (code === 'error-the-field-is-required') {
		return { field: at, text: at === 'name' ? 'Enter a name.' : 'Choose a type.' };
	}
	if (code === 'error-input-is-not-a-valid-field') {
		return { field: at, text: at === 'name' ? nameFault(name) || 'The server doesn’t accept this name.' : 'The server doesn’t know this type.' };
	}
	if (sentences[code]) {
		const doubt = wrote && (code === 'late' || code === 'no-json') ? ' It may or may not have been done.' : '';
		return { field: code.endsWith('In_Use') ? 'name' : '', text: sentences[code] + doubt };
	}
	const id = requestId && ` The server’s log says more under ${requestId}.`;
	return { field: '', text: `The server has failed${wrote ? ', and may or may not have done it' : ''}.${id}` };
}

const visible = /[^\p{White_Space}\p{Cf}\p{Default_Ignorable_Code_Point}\p{Variation_Selector}\u2800]/u;
export const longestName = 120;
export const lengthOf = (name) => [...name].length;

// nameFault says what the server's usual rules have against a name, or nothing.
export function nameFault(name) {
	if (!visible.test(name)) return 'Enter a name.';
	if (lengthOf(name) > longestName) return `A name has at most ${longestName} characters; this one has ${lengthOf(name)}.`;
	if (/[<>&"']/.test(name)) return 'A name can’t contain <, >, &, " or \'.';
	if (/\p{Cc}/u.test(name) || !name.isWellFormed()) return 'A name can’t contain control characters.';
	return '';
}
