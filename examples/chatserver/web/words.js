// What the server refuses, in words for people. The server's own words are for those
// who write programs: the page goes by the code, and never shows them.

export class Refusal extends Error {
	constructor(code, details = {}) {
		super(code);
		this.code = code;
		this.details = details;
	}
}

const gone = 'Somebody else has deleted this status.';
const again = 'The server couldn’t do that. Try again in a moment.';

const sentences = {
	'unreachable': () => ({ text: 'The server can’t be reached. Check your connection, and try again.' }),
	'wrong-password': () => ({ field: 'password', text: 'The name or the password is wrong.' }),
	'unauthorized': () => ({ text: 'Your login has ended. Please log in again.' }),
	'not_authorized': () => ({ text: 'Only an admin can change the statuses.' }),
	'message-length': (typed) => ({ field: 'text', text: typed.text.trim() === '' ? 'Write something first.' : 'A message has at most 2000 characters.' }),
	'no-such-status': () => ({ text: gone }),
	'Custom_User_Status_Error_Invalid_User_Status': () => ({ text: gone }),
	'Custom_User_Status_Error_Name_Already_In_Use': () => ({ field: 'name', text: 'Another status has this name. Choose a different one.' }),
	'error-the-field-is-required': (typed, { field }) => field === 'Name'
		? { field: 'name', text: 'Enter a name.' }
		: { field: 'statusType', text: 'Choose one of these.' },
	'error-input-is-not-a-valid-field': (typed, { field }) => field === 'Name'
		? { field: 'name', text: nameFault(typed.name) }
		: { field: 'statusType', text: 'Choose one of these.' },
	'error-status-too-large': () => ({ field: 'name', text: 'That is too long.' }),
	'error-body-too-large': () => ({ text: 'That is too long.' }),
	'body-too-large': () => ({ text: 'That is too long.' }),
	'gone': () => ({ text: gone }),
};

// sentence returns what to tell a person about a refusal, and at which field if at one.
export function sentence(failure, typed) {
	if (!(failure instanceof Refusal)) {
		console.error(failure);
		return { text: again };
	}
	return sentences[failure.code]?.(typed, failure.details) ?? { text: again };
}

function nameFault(name) {
	const length = [...name].length;
	if (length > 120) return `A name has at most 120 characters; this one has ${length}.`;
	const found = [...new Set(name.match(/[<>&"']/g))];
	if (found.length > 0) return `A name can’t contain ${new Intl.ListFormat('en', { type: 'disjunction' }).format(found)}.`;
	return 'A name can’t contain invisible control characters.';
}
