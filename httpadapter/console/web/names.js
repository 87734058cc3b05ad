// How a name is shown.

import { emoji } from './emoji.js';
import { html } from './lib.js';

// withEmoji replaces the short codes that are known, such as :palm_tree:.
export const withEmoji = (name) => name.replace(/:([a-z0-9_+-]+):/g, (code, word) => emoji.get(word) ?? code);

// Name shows a name as text. Its direction stays its own, and its spaces are kept.
export const Name = ({ of }) => html`<bdi class="name" title=${of}>${withEmoji(of)}</bdi>`;

export const Type = ({ of, name }) => html`<span class="type"><span class=${`dot ${of || 'none'}`} aria-hidden="true" />${name}</span>`;
